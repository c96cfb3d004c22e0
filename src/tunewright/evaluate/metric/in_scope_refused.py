"""The price of refusing: rows in scope that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import ShareOfScope, is_in_scope, is_refused

if TYPE_CHECKING:
    from tunewright.types import Floats, Label


class InScopeRefused(ShareOfScope):
    """Share of the rows in scope that are answered as out of scope."""

    description = "Share of the rows in scope that are refused."
    higher_is_better = False

    def observe(self, answer: Label, gold: Label) -> Floats:
        """(refused, in scope) per row."""
        inside = is_in_scope(gold)
        return np.stack([inside & is_refused(answer, gold), inside], axis=1).astype(np.float64)
