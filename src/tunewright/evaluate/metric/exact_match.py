"""Exact match after normalising, as question answering is scored (Rajpurkar et al. 2016, section 6.1)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Text

if TYPE_CHECKING:
    from tunewright.types import Floats

TERMINAL = " .!?;,:…~。、"
"""Marks that may be missing at the end; full-width ones are folded into these before."""


class ExactMatch(MeanMetric):
    """Share of the answers that are their reference, after width (NFKC), case, runs of space and marks at the end are folded."""

    accepts = (Text,)
    description = "Share of the answers equal to their reference but for width, case, space and marks at the end."
    is_share_of_rows = True

    def observe(self, answer: Text, gold: Text) -> Floats:
        """(equal or not, 1) per row."""
        pairs = zip(answer.texts, gold.texts, strict=True)
        return mean_statistics(np.array([normalise(given) == normalise(right) for given, right in pairs], dtype=bool))


def normalise(text: str) -> str:
    """The text as it is compared."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(TERMINAL) or folded
