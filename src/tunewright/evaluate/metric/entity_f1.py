"""F1 of whole spans, all labels together (Tjong Kim Sang & De Meulder 2003, section 2.3)."""

from __future__ import annotations

from tunewright.evaluate.metric._entities import EntityMetric
from tunewright.evaluate.metric.base import f1, total
from tunewright.types import Floats


class EntityF1(EntityMetric):
    """2 x right / (found + there), all labels together."""

    description = "F1 of whole spans, all labels together: ends and label have to be right."

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] -> values[B]."""
        return f1(total(hits), total(answered), total(right))[..., 0]
