"""Matthews correlation, for two labels (Matthews 1975) and for many: R_K (Gorodkin 2004, eq. 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import CountMetric
from tunewright.types import Label

if TYPE_CHECKING:
    from tunewright.types import Floats


class Mcc(CountMetric):
    """Correlation between answers and right labels, from -1 to 1; 0 is chance. Undefined if either never varies."""

    accepts = (Label,)
    description = "Correlation between answers and right labels, from -1 to 1; 0 is chance."
    is_percentage = False

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """(n * hits - sum answered*right) / sqrt((n^2 - sum answered^2)(n^2 - sum right^2))."""
        num_rows = right.sum(axis=-1)
        covariance = num_rows * hits.sum(axis=-1) - (answered * right).sum(axis=-1)
        spread = (num_rows**2 - (answered**2).sum(axis=-1)) * (num_rows**2 - (right**2).sum(axis=-1))
        result: Floats = np.where(spread > 0, covariance / np.sqrt(spread), np.nan)
        return result
