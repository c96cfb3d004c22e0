"""Weighted F1: every row counts the same, so common labels weigh most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, f1, weighted_by_support

if TYPE_CHECKING:
    from tunewright.types import Floats


class WeightedF1(CountMetric):
    """Mean over the labels of F1, weighted by the number of rows of each."""

    description = "Mean over the labels of F1, weighted by the number of rows of each."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return weighted_by_support(f1(hits, answered, right), right)
