"""ROUGE-2 as an F measure (Lin 2004, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.evaluate.metric._rouge import RougeMetric, of_ngrams


class Rouge2(RougeMetric):
    """F measure of pairs of words that stand in both."""

    description = "F measure of the pairs of words shared with the reference, as ROUGE-2; 1 is the reference itself."

    def f_measure(self, given: Sequence[str], right: Sequence[str]) -> float:
        """0..1."""
        return of_ngrams(given, right, 2)
