"""chrF: agreement of character n-grams with the reference, without any segmentation (Popović 2015, equation 1)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import AdditiveMetric
from tunewright.types import Text

if TYPE_CHECKING:
    from tunewright.types import Floats

ORDER = 6
RECALL_WEIGHT = 2.0


class Chrf(AdditiveMetric):
    """F score, with recall counted twice, of character n-grams of length 1 to 6, over all answers together; 1 is identity.

    Spaces are left out, case counts. Precision and recall are averaged over the lengths that occur on both sides, as
    sacrebleu does, whose score is 100 times this one.
    """

    accepts = (Text,)
    description = "Agreement of character n-grams with the reference, as chrF2; 1 is the reference itself."

    def observe(self, answer: Text, gold: Text) -> Floats:
        """Per n-gram length: n-grams answered, in the reference, and in both; [N, 18]."""
        rows = [_counts(given, right) for given, right in zip(answer.texts, gold.texts, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 3 * ORDER)

    def combine(self, totals: Floats) -> Floats:
        """(1 + 4) P R / (4 P + R) of the mean precision P and recall R; 0 where nothing agrees or nothing was answered."""
        answered, right, both = totals[..., 0::3], totals[..., 1::3], totals[..., 2::3]
        occurs = (answered > 0) & (right > 0)
        lengths = np.maximum(occurs.sum(axis=-1), 1)
        precision = np.where(occurs, both / answered, 0.0).sum(axis=-1) / lengths
        recall = np.where(occurs, both / right, 0.0).sum(axis=-1) / lengths
        square = RECALL_WEIGHT**2
        mean = (1 + square) * precision * recall / (square * precision + recall)
        agreed: Floats = np.where(precision + recall > 0, mean, 0.0)
        return np.where(totals.sum(axis=-1) > 0, agreed, np.nan)


def _counts(answer: str, reference: str) -> list[int]:
    given, right = "".join(answer.split()), "".join(reference.split())
    counts: list[int] = []
    for length in range(1, ORDER + 1):
        answered, wanted = _ngrams(given, length), _ngrams(right, length)
        # An answer counts only where the reference is long enough to have n-grams of this length: sacrebleu's rule.
        counts += [answered.total() if wanted else 0, wanted.total(), (answered & wanted).total()]
    return counts


def _ngrams(text: str, length: int) -> Counter[str]:
    return Counter(text[start : start + length] for start in range(len(text) - length + 1))
