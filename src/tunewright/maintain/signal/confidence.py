"""Confidence: is the model less (or more) sure than it was on held-out rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.maintain.curves import curve_shift
from tunewright.types import Answer, Label, Labels, Likelihood, Reading, Window

if TYPE_CHECKING:
    from tunewright.types import Floats


class Confidence:
    """How sure the answers are, by the two-sample Kolmogorov-Smirnov test."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading | None:
        """The largest gap between the two curves of confidence; None for answers that carry none."""
        now, before = _confidences(window.answer), _confidences(reference.answer)
        if now is None or before is None or not len(now) or not len(before):
            return None
        gap, p = curve_shift(now, before)
        sentence = f"the median answer has a confidence of {np.median(now):.3f}, {np.median(before):.3f} before"
        return Reading(signal="confidence", value=gap, p=p, sentence=sentence)


def _confidences(answer: Answer | None) -> Floats | None:
    """One number per row: the probability of what was answered (of the least certain name), or of a token on average."""
    if isinstance(answer, Likelihood):
        result: Floats = np.exp(-answer.nll / np.maximum(answer.num_tokens, 1))
        return result
    if not isinstance(answer, Label | Labels) or answer.probabilities is None:
        return None
    if isinstance(answer, Labels):
        least: Floats = np.where(answer.chosen, answer.probabilities, 1.0 - answer.probabilities).min(axis=1)
        return least
    return answer.probabilities[np.arange(len(answer)), answer.chosen]
