"""Recall of whole spans, all labels together (Tjong Kim Sang & De Meulder 2003, section 2.3)."""

from __future__ import annotations

from tunewright.evaluate.metric._entities import EntityMetric
from tunewright.evaluate.metric.base import recall, total
from tunewright.types import Floats


class EntityRecall(EntityMetric):
    """Right / there to be found, all labels together."""

    description = "Share of the spans there to be found that were, ends and label."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return recall(total(hits), total(answered), total(right))[..., 0]
