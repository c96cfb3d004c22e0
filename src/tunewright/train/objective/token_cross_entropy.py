"""Cross-entropy of the next token, over the tokens that are supervised.

Formula: -sum_t w_t log p(x_t | x_<t), divided by sum_t w_t over the whole update (not by micro-batch, so that the cut of a
batch changes nothing).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tunewright.infer.likelihood import Predictions, weighted_loss


class TokenCrossEntropy:
    """Cross-entropy for language modelling on supervised tokens."""

    def __call__(self, outputs: Predictions, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and the sum of the weights; ``columns["target"]`` holds a weight to each token[T]."""
        return weighted_loss(outputs), self.count(columns)

    def judge(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from (summed loss, number of tokens)[N, 2] of each row, every supervised token counted once."""
        return outputs[:, 0].sum(), outputs[:, 1].sum()

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The sum of the weights; a row's first token has none, as nothing precedes it."""
        return columns["target"].sum()
