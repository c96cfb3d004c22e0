"""Repetition: the share of 4-grams that an answer holds more than once (seq-rep-4, Welleck et al. 2020, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric._pieces import pieces
from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.types import Text

if TYPE_CHECKING:
    from tunewright.types import Floats

LENGTH = 4


class Repetition(MeanMetric):
    """Mean over the answers of 1 - distinct / all 4-grams, of words, or of characters in scripts without spaces.

    An answer of fewer than four pieces repeats nothing.
    """

    accepts = (Text,)
    description = "Share of an answer's runs of four words or characters that it holds already; lower is better."
    higher_is_better = False

    def observe(self, answer: Text, gold: Text) -> Floats:
        """(share of repeats, 1) per row."""
        return mean_statistics(np.array([repeated_share(text) for text in answer.texts], dtype=np.float64))


def repeated_share(text: str) -> float:
    """1 - distinct / all runs of four pieces, 0 where there are none."""
    parts = pieces(text)
    runs = [tuple(parts[start : start + LENGTH]) for start in range(len(parts) - LENGTH + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0
