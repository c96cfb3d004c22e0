"""Micro recall: equal to accuracy where every row has exactly one label (Sokolova & Lapalme 2009, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, recall, total

if TYPE_CHECKING:
    from tunewright.types import Floats


class MicroRecall(CountMetric):
    """Share of all the right labels that are found."""

    description = "Share of all the right labels that are found."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return recall(total(hits), total(answered), total(right))[..., 0]
