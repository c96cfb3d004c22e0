"""The softmax cross-entropy that the objectives of labels and of tags share.

Formula: -sum_c q_c log p_c with q = (1 - s) * onehot + s / C (Szegedy et al. 2016, "Rethinking the Inception Architecture",
section 7); with class weights w the sum is divided by the sum of the rows' weights, as torch does. The focal loss (Lin et al.
2017, "Focal Loss for Dense Object Detection", equation 4) multiplies each term by (1 - p_c)^gamma.
Shape letters: N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

TINY = torch.finfo(torch.float32).tiny
"""Least share that a power is taken of: at zero its slope is infinite for exponents below 1."""


class SoftmaxLoss:
    """Cross-entropy of right labels[N], with label smoothing, class weights and focus on what is hard."""

    def __init__(
        self, *, label_smoothing: float = 0.0, focal_gamma: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> None:
        """``label_smoothing`` in [0, 1); ``focal_gamma`` of 0 is the plain loss; ``class_weights[C]`` or None."""
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def summed(self, logits_NC: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        """The loss summed over the rows."""
        weights = None if self.class_weights is None else self.class_weights.to(logits_NC.device)
        if self.focal_gamma:
            return self._focal(logits_NC.float(), target_N, weights)
        return functional.cross_entropy(
            logits_NC.float(), target_N, weight=weights, label_smoothing=self.label_smoothing, reduction="sum"
        )

    def counted(self, target_N: torch.Tensor) -> torch.Tensor:
        """What the summed loss of these rows is divided by: their number, or the sum of their weights."""
        if self.class_weights is None:
            return torch.tensor(float(len(target_N)))
        return self.class_weights[target_N.cpu()].sum()

    def _focal(self, logits_NC: torch.Tensor, target_N: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        log_p_NC = logits_NC.log_softmax(dim=1)
        share = self.label_smoothing / logits_NC.shape[1]
        q_NC = torch.full_like(log_p_NC, share).scatter_(1, target_N[:, None], 1.0 - self.label_smoothing + share)
        missing_NC = (-torch.expm1(log_p_NC)).clamp_min(TINY)
        terms_NC = -q_NC * missing_NC**self.focal_gamma * log_p_NC
        return (terms_NC if weights is None else terms_NC * weights).sum()
