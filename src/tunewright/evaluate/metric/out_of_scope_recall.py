"""What refusing is for: rows out of scope that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import ShareOfScope, is_refused

if TYPE_CHECKING:
    from tunewright.types import Floats, Label


class OutOfScopeRecall(ShareOfScope):
    """Share of the rows out of scope that are refused (Larson et al. 2019, section 4)."""

    description = "Share of the rows out of scope that are refused."

    def observe(self, answer: Label, gold: Label) -> Floats:
        """(refused, out of scope) per row."""
        outside = is_refused(gold, gold)
        return np.stack([outside & is_refused(answer, gold), outside], axis=1).astype(np.float64)
