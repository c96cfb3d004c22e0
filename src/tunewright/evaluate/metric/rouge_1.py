"""ROUGE-1 as an F measure (Lin 2004, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.evaluate.metric._rouge import RougeMetric, of_ngrams


class Rouge1(RougeMetric):
    """F measure of words that stand in both."""

    description = "F measure of the words shared with the reference, as ROUGE-1; 1 is the reference itself."

    def f_measure(self, given: Sequence[str], right: Sequence[str]) -> float:
        """0..1."""
        return of_ngrams(given, right, 1)
