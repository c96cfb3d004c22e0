"""The share of texts of which every span is right and none is too many."""

from __future__ import annotations

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Floats, Spans, Tally


class EntityExactRows(MeanMetric):
    """Share of the rows without a single wrong, missing or surplus span."""

    accepts = (Spans, Tally)
    description = "Share of the texts of which every span is right and none is too many."
    is_share_of_rows = True

    def observe(self, answer: Spans | Tally, gold: Spans) -> Floats:
        """(all right or not, 1) per row."""
        if isinstance(answer, Tally):
            hits, answered = (answer.counts[:, block].sum(axis=1) for block in range(2))
            right = np.array([len(spans) for spans in gold.found], dtype=np.float64)
            return mean_statistics((hits == answered) & (hits == right))
        pairs = zip(answer.found, gold.found, strict=True)
        return mean_statistics(np.array([set(given) == set(true) for given, true in pairs], dtype=np.bool_))
