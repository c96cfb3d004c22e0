"""How well the score by which texts are refused tells rows in scope from others, at whatever limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import RocMetric, in_scope_scores, is_in_scope
from tunewright.types import Classified, Label

if TYPE_CHECKING:
    from tunewright.types import Floats


class OutOfScopeAuroc(RocMetric):
    """Area under the ROC curve of the likeliest label's probability (Hendrycks & Gimpel 2017, section 2)."""

    accepts = (Label,)
    description = "Chance that a row in scope has a likelier label than a row out of scope."

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """(score, in scope) per row; NaN where the answer has no probabilities, or no label is out of scope."""
        assert isinstance(answer, Label)
        assert isinstance(gold, Label)
        if gold.out_of_scope is None:
            return np.full((len(gold), 2), np.nan)
        return np.stack([in_scope_scores(answer, gold.out_of_scope), is_in_scope(gold)], axis=1)
