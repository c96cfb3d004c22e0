"""Mean squared error of numbers that are predicted as they are.

Formula: (y - t)^2, averaged over the outputs of a row and over the rows (Bishop 2006, "Pattern Recognition and Machine
Learning", section 3.1.1). Shape letters: N rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch


class MeanSquaredError:
    """Mean squared error for one or several numbers a row."""

    def __call__(
        self, outputs_NK: torch.Tensor, columns: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over rows (mean over a row's outputs) and the number of rows; ``columns["target"]`` is [N, K]."""
        errors_NK = outputs_NK.float() - columns["target"].float()
        return errors_NK.square().mean(dim=1).sum(), self.count(columns)

    judge = __call__

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The number of rows."""
        return torch.tensor(float(len(columns["target"])))
