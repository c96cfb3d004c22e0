"""Micro precision: equal to accuracy where every row has exactly one label (Sokolova & Lapalme 2009, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, precision, total

if TYPE_CHECKING:
    from tunewright.types import Floats


class MicroPrecision(CountMetric):
    """Share of all the labels answered that are right."""

    description = "Share of all the labels answered that are right."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return precision(total(hits), total(answered), total(right))[..., 0]
