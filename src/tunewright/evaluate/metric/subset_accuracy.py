"""Subset accuracy: the share of rows whose set of labels is right as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics, row_hits
from tunewright.types import Labels

if TYPE_CHECKING:
    from tunewright.types import Floats


class SubsetAccuracy(MeanMetric):
    """Share of the rows whose labels are all right, none missing and none too many."""

    accepts = (Labels,)
    description = "Share of the rows whose labels are all right, none missing and none too many."
    is_share_of_rows = True

    def observe(self, answer: Labels, gold: Labels) -> Floats:
        """(all right or not, 1) per row."""
        return mean_statistics(row_hits(answer, gold))
