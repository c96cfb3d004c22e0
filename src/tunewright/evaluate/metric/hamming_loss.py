"""Hamming loss: the share of single label decisions that are wrong (Schapire & Singer 2000, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Labels

if TYPE_CHECKING:
    from tunewright.types import Floats


class HammingLoss(MeanMetric):
    """Share of the yes-or-no decisions, one per row and label, that are wrong."""

    accepts = (Labels,)
    description = "Share of the yes-or-no decisions, one per row and label, that are wrong."
    higher_is_better = False

    def observe(self, answer: Labels, gold: Labels) -> Floats:
        """(share of wrong decisions in the row, 1) per row."""
        return mean_statistics((answer.chosen != gold.chosen).mean(axis=1))
