"""The mean over labels of the F1 of whole spans."""

from __future__ import annotations

from tunewright.evaluate.metric._entities import EntityMetric
from tunewright.evaluate.metric.base import f1, mean_of_defined
from tunewright.types import Floats


class EntityMacroF1(EntityMetric):
    """F1 of whole spans, each label by itself, averaged over the labels that occur."""

    description = "F1 of whole spans by label, averaged: rare labels count as much as common ones."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return mean_of_defined(f1(hits, answered, right))
