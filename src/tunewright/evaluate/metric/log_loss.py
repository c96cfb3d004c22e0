"""Log loss: the mean of minus the natural logarithm of the probability given to what is right, in nats (Good 1952)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric, indicators, mean_statistics, probabilities_of
from tunewright.types import Classified, Labels

if TYPE_CHECKING:
    from tunewright.types import Floats

SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1, so that one certain mistake does not make the mean infinite."""


class LogLoss(MeanMetric):
    """Mean surprise at the right label, in nats; for several labels, the mean over their yes-or-no decisions."""

    description = "Mean surprise at the right label, in nats; lower is better."
    higher_is_better = False
    is_percentage = False
    depends_on_threshold = False

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """(surprise, 1) per row; NaN where the answer has no probabilities."""
        given = np.clip(probabilities_of(answer), SMALLEST, 1.0 - SMALLEST)
        right = indicators(gold)
        if isinstance(answer, Labels):
            return mean_statistics(-np.log(np.where(right, given, 1.0 - given)).mean(axis=1))
        return mean_statistics(-np.log(np.where(right, given, 1.0)).sum(axis=1))
