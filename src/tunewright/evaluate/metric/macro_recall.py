"""Macro recall, also called balanced accuracy (Sokolova & Lapalme 2009, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, mean_of_defined, recall

if TYPE_CHECKING:
    from tunewright.types import Floats


class MacroRecall(CountMetric):
    """Mean over the labels of the share of its rows that are found."""

    description = "Mean over the labels of the share of its rows that are found."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return mean_of_defined(recall(hits, answered, right))
