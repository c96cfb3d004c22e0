"""Binary cross-entropy on independent outputs: one sigmoid for two labels, or one per label.

Formula: -[w q log s(x) + (1 - q) log(1 - s(x))] with s the logistic function, averaged over the outputs of a row (Goodfellow
et al. 2016, "Deep Learning", section 6.2.2.2); q = (1 - e) y + e / 2 with label smoothing e (Szegedy et al. 2016,
"Rethinking the Inception Architecture", section 7, for two classes). The focal loss (Lin et al. 2017, "Focal Loss for Dense
Object Detection", equation 4) multiplies the first term by (1 - s(x))^gamma and the second by s(x)^gamma. Shape letters: N rows,
C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

TINY = torch.finfo(torch.float32).tiny
"""Least share that a power is taken of: at zero its slope is infinite for exponents below 1."""


class BinaryCrossEntropy:
    """Binary cross-entropy for one sigmoid output or for multi-label classification."""

    def __init__(
        self, *, label_smoothing: float = 0.0, focal_gamma: float = 0.0, positive_weights: Sequence[float] | None = None
    ) -> None:
        """``label_smoothing`` in [0, 1); ``focal_gamma`` of 0 is the plain loss.

        ``positive_weights[C]`` multiply the loss of positive targets, None leaves it.
        """
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.positive_weights = (
            None if positive_weights is None else torch.tensor(positive_weights, dtype=torch.float32)
        )

    def __call__(
        self, logits_NC: torch.Tensor, columns: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over rows (mean over a row's outputs) and the number of rows; ``columns["target"]`` is [N, C]."""
        target_NC = columns["target"].float() * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        weights = None if self.positive_weights is None else self.positive_weights.to(logits_NC.device)
        logits_NC = logits_NC.float()
        if self.focal_gamma:
            yes_NC = target_NC * torch.sigmoid(-logits_NC).clamp_min(TINY) ** self.focal_gamma
            no_NC = (1.0 - target_NC) * torch.sigmoid(logits_NC).clamp_min(TINY) ** self.focal_gamma
            yes_NC = yes_NC if weights is None else yes_NC * weights
            losses_NC = -yes_NC * functional.logsigmoid(logits_NC) - no_NC * functional.logsigmoid(-logits_NC)
        else:
            losses_NC = functional.binary_cross_entropy_with_logits(
                logits_NC, target_NC, pos_weight=weights, reduction="none"
            )
        return losses_NC.mean(dim=1).sum(), self.count(columns)

    judge = __call__

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The number of rows."""
        return torch.tensor(float(len(columns["target"])))
