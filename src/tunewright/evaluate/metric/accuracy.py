"""Accuracy: the share of rows whose one label is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics, row_hits
from tunewright.types import Label

if TYPE_CHECKING:
    from tunewright.types import Floats


class Accuracy(MeanMetric):
    """Share of the rows that are answered rightly."""

    accepts = (Label,)
    description = "Share of the rows that are answered rightly."
    is_share_of_rows = True

    def observe(self, answer: Label, gold: Label) -> Floats:
        """(right or not, 1) per row."""
        return mean_statistics(row_hits(answer, gold))
