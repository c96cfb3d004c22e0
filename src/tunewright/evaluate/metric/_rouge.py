"""What the ROUGE metrics share: the words that are compared (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries").

Words are runs of letters and digits in lower case; scripts without spaces are compared by character. Nothing is stemmed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tunewright.evaluate.metric.base import MeanMetric, mean_statistics
from tunewright.infer.words import UNSPACED
from tunewright.types import Floats, Text

_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}_])\w)+")


class RougeMetric(MeanMetric):
    """The mean over rows of an F measure between the answer's words and the reference's."""

    accepts = (Text,)

    def observe(self, answer: Text, gold: Text) -> Floats:
        """(F measure, 1) per row; 0 where one of both has no words."""
        pairs = zip(answer.texts, gold.texts, strict=True)
        return mean_statistics(np.array([self.f_measure(words(given), words(right)) for given, right in pairs]))

    def f_measure(self, given: Sequence[str], right: Sequence[str]) -> float:
        """0..1."""
        raise NotImplementedError


def words(text: str) -> list[str]:
    """The words of a text as ROUGE compares them."""
    return _WORD.findall(text.lower())


def of_ngrams(given: Sequence[str], right: Sequence[str], size: int) -> float:
    """ROUGE-N as an F measure (section 2): n-grams in both, each counted as often as it stands in both."""
    counts = [Counter(tuple(one[at : at + size]) for at in range(len(one) - size + 1)) for one in (given, right)]
    both = (counts[0] & counts[1]).total()
    return harmonic(both, counts[0].total(), counts[1].total())


def of_subsequence(given: Sequence[str], right: Sequence[str]) -> float:
    """ROUGE-L as an F measure (section 3.1): the longest common subsequence of words."""
    number = {word: at for at, word in enumerate(dict.fromkeys([*given, *right]))}
    targets = np.array([number[word] for word in right], dtype=np.int64)
    lengths = np.zeros(len(right) + 1, dtype=np.int64)
    for word in given:
        met = np.append(0, lengths[:-1] + (targets == number[word]))
        lengths = np.maximum.accumulate(np.maximum(lengths, met))
    return harmonic(int(lengths[-1]), len(given), len(right))


def harmonic(both: int, given: int, right: int) -> float:
    """2 P R / (P + R) of precision both / given and recall both / right; 0 where nothing is common."""
    return 2 * both / (given + right) if both else 0.0
