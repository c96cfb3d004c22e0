"""Softmax cross-entropy over one label per row, with label smoothing and class weights.

Formula: -sum_c q_c log p_c with q = (1 - s) * onehot + s / C (Szegedy et al. 2016, "Rethinking the Inception Architecture",
section 7); with class weights w the sum is divided by the sum of the rows' weights, as torch does.
Shape letters: N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional


class CrossEntropy:
    """Cross-entropy for single-label classification."""

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        """``label_smoothing`` in [0, 1); ``class_weights[C]`` or None."""
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def __call__(
        self, logits_NC: torch.Tensor, columns: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and its count (rows, or the sum of their weights); ``columns["target"]`` is [N, 1]."""
        target_N = columns["target"][:, 0].long()
        weights = None if self.class_weights is None else self.class_weights.to(logits_NC.device)
        loss = functional.cross_entropy(
            logits_NC.float(), target_N, weight=weights, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return loss, self.count(columns)

    judge = __call__

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the summed loss of these rows is divided by."""
        target_N = columns["target"][:, 0].long()
        if self.class_weights is None:
            return torch.tensor(float(len(target_N)))
        return self.class_weights[target_N.cpu()].sum()
