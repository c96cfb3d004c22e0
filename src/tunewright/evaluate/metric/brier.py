"""Brier score: squared distance between the probabilities and what is right (Brier 1950)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric, indicators, mean_statistics, probabilities_of
from tunewright.types import Classified, Labels

if TYPE_CHECKING:
    from tunewright.types import Floats


class Brier(MeanMetric):
    """Mean squared error of the probabilities.

    With more than two labels the squares are summed over the labels (0 to 2); with two, and for several labels per
    row, it is the square of one probability (0 to 1), averaged over the labels.
    """

    description = "Mean squared error of the probabilities; lower is better."
    higher_is_better = False
    is_percentage = False
    depends_on_threshold = False

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """(squared error, 1) per row; NaN where the answer has no probabilities."""
        squares = np.square(probabilities_of(answer) - indicators(gold))
        averaged = isinstance(answer, Labels) or len(answer.names) <= 2
        return mean_statistics(squares.mean(axis=1) if averaged else squares.sum(axis=1))
