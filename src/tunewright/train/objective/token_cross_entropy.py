"""Cross-entropy of the next token, over the tokens that are supervised.

Formula: -sum_t w_t log p(x_t | x_<t), divided by sum_t w_t over the whole update (not by micro-batch, so that the cut of a
batch changes nothing). With label smoothing s, -log p(x_t) becomes (1 - s) of it and s of its mean over the vocabulary (Szegedy
et al. 2016, "Rethinking the Inception Architecture", section 7); what is judged stays the plain likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tunewright.infer.likelihood import Predictions, weighted_loss


class TokenCrossEntropy:
    """Cross-entropy for language modelling on supervised tokens."""

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        """``label_smoothing`` in [0, 1)."""
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: Predictions, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and the sum of the weights; ``columns["target"]`` holds a weight to each token[T]."""
        return weighted_loss(outputs, self.label_smoothing), self.count(columns)

    def judge(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from (summed loss, number of tokens)[N, 2] of each row, every supervised token counted once."""
        return outputs[:, 0].sum(), outputs[:, 1].sum()

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The sum of the weights; a row's first token has none, as nothing precedes it."""
        return columns["target"].sum()
