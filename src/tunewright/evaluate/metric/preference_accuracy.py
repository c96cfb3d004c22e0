"""The share of pairs of which the better answer leads."""

from __future__ import annotations

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Floats, Preferred


class PreferenceAccuracy(MeanMetric):
    """The share of pairs of which the better answer leads."""

    accepts = (Preferred,)
    description = "Share of the pairs of which the better answer leads."
    is_share_of_rows = True

    def observe(self, answer: Preferred, gold: Preferred) -> Floats:
        """(leads or not, 1) per row."""
        return mean_statistics(answer.margins > 0)
