"""Weighted recall: equal to accuracy where every row has one label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, recall, weighted_by_support

if TYPE_CHECKING:
    from tunewright.types import Floats


class WeightedRecall(CountMetric):
    """Mean over the labels of recall, weighted by the number of rows of each."""

    description = "Mean over the labels of recall, weighted by the number of rows of each."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return weighted_by_support(recall(hits, answered, right), right)
