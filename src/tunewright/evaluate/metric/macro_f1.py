"""Macro F1: every label counts the same, however rare (Sokolova & Lapalme 2009, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import CountMetric, f1, mean_of_defined

if TYPE_CHECKING:
    from tunewright.types import Floats


class MacroF1(CountMetric):
    """Mean over the labels of the harmonic mean of precision and recall."""

    description = "Mean over the labels of the harmonic mean of precision and recall."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return mean_of_defined(f1(hits, answered, right))
