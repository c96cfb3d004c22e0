"""Weighted precision: every row counts the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, precision, weighted_by_support

if TYPE_CHECKING:
    from tunewright.types import Floats


class WeightedPrecision(CountMetric):
    """Mean over the labels of precision, weighted by the number of rows of each."""

    description = "Mean over the labels of precision, weighted by the number of rows of each."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return weighted_by_support(precision(hits, answered, right), right)
