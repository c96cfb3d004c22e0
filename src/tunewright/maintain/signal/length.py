"""Length: are the texts longer or shorter than they were?"""

from __future__ import annotations

import numpy as np

from tunewright.maintain.curves import curve_shift
from tunewright.types import Reading, Window


class Length:
    """Lengths in characters, by the two-sample Kolmogorov-Smirnov test."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading:
        """The largest gap between the two curves of lengths."""
        now, before = (np.array([len(text) for text in each.texts], np.float64) for each in (window, reference))
        gap, p = curve_shift(now, before)
        sentence = f"the median text has {np.median(now):,.0f} characters, {np.median(before):,.0f} before"
        return Reading(signal="length", value=gap, p=p, sentence=sentence)
