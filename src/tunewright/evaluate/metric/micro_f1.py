"""Micro F1: equal to accuracy where every row has exactly one label (Sokolova & Lapalme 2009, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, f1, total

if TYPE_CHECKING:
    from tunewright.types import Floats


class MicroF1(CountMetric):
    """F1 of all label decisions thrown together."""

    description = "F1 of all label decisions thrown together."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return f1(total(hits), total(answered), total(right))[..., 0]
