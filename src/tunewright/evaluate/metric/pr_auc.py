"""Area under the precision-recall curve as average precision: a step sum, not trapezoids (Davis & Goadrich 2006, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import RankMetric

if TYPE_CHECKING:
    from tunewright.types import Floats


class PrAuc(RankMetric):
    """Average precision, the sum of (R_n - R_(n-1)) P_n; mean over the labels, one against the rest.

    Chance is the label's share of the rows, which is printed beside it.
    """

    description = "Average precision; mean over the labels. Chance is a label's share of the rows."
    is_percentage = False

    def from_ranks(self, positive: Floats, negative: Floats) -> Floats:
        """Sum over groups of positive * precision at that group / positives; NaN without both kinds of rows."""
        hits = np.cumsum(positive, axis=0)
        retrieved = hits + np.cumsum(negative, axis=0)
        area = (positive * hits / np.maximum(retrieved, 1e-300)).sum(axis=0)
        both = (hits[-1] > 0) & (retrieved[-1] > hits[-1])
        result: Floats = np.where(both, area / hits[-1], np.nan)
        return result
