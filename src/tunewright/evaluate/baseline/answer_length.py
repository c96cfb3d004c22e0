"""The length of an answer: people prefer longer ones, and a preference that is no more than that is soon learnt.

Singhal et al. 2023, "A Long Way to Go: Investigating Length Correlations in RLHF".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunewright.config.base import ComponentConfig
from tunewright.types import Preferred


class AnswerLength:
    """Prefers the longer answer, or the shorter one where that is right more often in training."""

    title = "the length of the answer"
    answers = "preferred"

    class Config(ComponentConfig):
        """Lengths have no options."""

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """Nothing here is random, so ``seed`` changes nothing."""
        self._sign = 1.0

    def fit(self, chosen: Sequence[str], rejected: Sequence[str]) -> None:
        """See which is right more often."""
        differences = _differences(chosen, rejected)
        self._sign = 1.0 if (differences > 0).sum() >= (differences < 0).sum() else -1.0

    def predict(self, chosen: Sequence[str], rejected: Sequence[str]) -> Preferred:
        """The difference in characters, as the better answer's lead."""
        return Preferred(self._sign * _differences(chosen, rejected))


def _differences(chosen: Sequence[str], rejected: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    pairs = zip(chosen, rejected, strict=True)
    return np.array([float(len(better) - len(worse)) for better, worse in pairs], dtype=np.float64)
