"""ROUGE-L as an F measure over whole texts (Lin 2004, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.evaluate.metric._rouge import RougeMetric, of_subsequence


class RougeL(RougeMetric):
    """F measure of the longest common subsequence of words."""

    description = "F measure of the words in common order with the reference, as ROUGE-L; 1 is the reference itself."

    def f_measure(self, given: Sequence[str], right: Sequence[str]) -> float:
        """0..1."""
        return of_subsequence(given, right)
