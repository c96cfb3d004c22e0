"""Softmax cross-entropy over one label per row, with label smoothing, class weights and focus on what is hard.

The formula stands in ``_softmax``. Shape letters: N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tunewright.train.objective._softmax import SoftmaxLoss


class CrossEntropy(SoftmaxLoss):
    """Cross-entropy for single-label classification."""

    def __call__(
        self, logits_NC: torch.Tensor, columns: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and its count (rows, or the sum of their weights); ``columns["target"]`` is [N, 1]."""
        return self.summed(logits_NC, columns["target"][:, 0].long()), self.count(columns)

    judge = __call__

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the summed loss of these rows is divided by."""
        return self.counted(columns["target"][:, 0].long())
