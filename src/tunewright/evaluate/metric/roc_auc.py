"""Area under the ROC curve as a rank statistic (Hanley & McNeil 1982, section III): ties count one half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import RankMetric

if TYPE_CHECKING:
    from tunewright.types import Floats


class RocAuc(RankMetric):
    """Chance that a row with the label scores above a row without it; mean over the labels, one against the rest."""

    description = "Chance that a row with the label is scored above a row without it; mean over the labels."
    is_percentage = False

    def from_ranks(self, positive: Floats, negative: Floats) -> Floats:
        """Sum over groups of positive * (negatives below + half the negatives tied) / (positives * negatives)."""
        all_negative = negative.sum(axis=0)
        below = all_negative - np.cumsum(negative, axis=0)
        result: Floats = (positive * (below + 0.5 * negative)).sum(axis=0) / (positive.sum(axis=0) * all_negative)
        return result
