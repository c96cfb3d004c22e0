"""By how much the better answer leads, on average."""

from __future__ import annotations

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Floats, Preferred


class PreferenceMargin(MeanMetric):
    """By how much the better answer leads, on average."""

    accepts = (Preferred,)
    description = "By how much the better answer leads, on average, in units of the implicit reward."
    is_percentage = False

    def observe(self, answer: Preferred, gold: Preferred) -> Floats:
        """(margin, 1) per row."""
        return mean_statistics(answer.margins)
