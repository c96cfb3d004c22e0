"""Accuracy on the rows that are in scope; a refused one is not right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import ShareOfScope, is_in_scope, row_hits

if TYPE_CHECKING:
    from tunewright.types import Floats, Label


class InScopeAccuracy(ShareOfScope):
    """Share of the rows in scope that are answered rightly (Larson et al. 2019, section 4)."""

    description = "Share of the rows in scope that are answered rightly, not refused."

    def observe(self, answer: Label, gold: Label) -> Floats:
        """(right, in scope) per row."""
        inside = is_in_scope(gold)
        return np.stack([inside & row_hits(answer, gold), inside], axis=1).astype(np.float64)
