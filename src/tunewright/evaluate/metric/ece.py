"""Expected calibration error: the gap between confidence and the share that is right (Guo et al. 2017, equation 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import AdditiveMetric, probabilities_of
from tunewright.types import Label

if TYPE_CHECKING:
    from tunewright.types import Floats, Ints

NUM_BINS = 15


class Ece(AdditiveMetric):
    """Mean gap between confidence and accuracy over 15 bins of equal width, (low, high], weighted by their rows.

    The confidence is the largest probability, and the answer is the label that has it, also where a threshold chose
    another. Small samples bias it upwards: read it with its interval.
    """

    accepts = (Label,)
    description = "Mean gap between confidence and accuracy over 15 bins of equal width; lower is better."
    higher_is_better = False
    is_percentage = False
    depends_on_threshold = False

    def observe(self, answer: Label, gold: Label) -> Floats:
        """Per bin: confidence minus right (0 elsewhere), and a last column of ones."""
        probabilities = probabilities_of(answer)
        confidence = probabilities.max(axis=1)
        gaps = confidence - (probabilities.argmax(axis=1) == gold.chosen)
        statistics = np.zeros((len(answer), NUM_BINS + 1))
        statistics[np.arange(len(answer)), bin_of(confidence)] = gaps
        statistics[:, NUM_BINS] = 1.0
        return statistics

    def combine(self, totals: Floats) -> Floats:
        """Sum over the bins of |sum of gaps| / number of rows."""
        result: Floats = np.abs(totals[..., :NUM_BINS]).sum(axis=-1) / totals[..., NUM_BINS]
        return result


def bin_of(confidence: Floats) -> Ints:
    """The bin of each confidence: bin b holds (b/15, (b+1)/15]; 0 falls in the first."""
    safe = np.nan_to_num(confidence)
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    return np.clip(np.searchsorted(edges, safe, side="left") - 1, 0, NUM_BINS - 1)
