"""Softmax cross-entropy of the tag of each word, divided by the number of words of the whole update.

Not by micro-batch, so that the cut of a batch changes nothing. The formula stands in ``_softmax``. Shape letters: T tokens, P
words, G tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from tunewright.train.objective._softmax import SoftmaxLoss


class Tagged(Protocol):
    """What a tagger gives: logits[P, G] and tags[P]."""

    @property
    def logits(self) -> torch.Tensor:
        """One row to a word."""
        ...

    @property
    def tags(self) -> torch.Tensor:
        """The right tags."""
        ...


class TagCrossEntropy(SoftmaxLoss):
    """Cross-entropy for sequence labelling; in ``columns["target"]``[T] a word's first token has its tag's number plus one."""

    def __call__(self, outputs: Tagged, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and its count: words, or the sum of their weights."""
        return self.summed(outputs.logits, outputs.tags), self.count(columns)

    def judge(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The plain likelihood from (summed loss, number of words, ...)[N, ...] of each row."""
        return outputs[:, 0].sum(), outputs[:, 1].sum()

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the summed loss of these words is divided by."""
        target_T = columns["target"]
        return self.counted(target_T[target_T > 0].long() - 1)
