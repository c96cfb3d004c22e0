"""Do two samples of numbers follow one curve?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunewright.types import Floats


def curve_shift(now: Floats, before: Floats) -> tuple[float, float]:
    """The two-sample Kolmogorov-Smirnov distance (0..1) and its p-value (Hodges 1958, section 3).

    The p-value is that of numbers without ties; with ties it is larger than it need be, never smaller.
    """
    from scipy.stats import ks_2samp

    found = ks_2samp(now, before, method="asymp")
    return float(found.statistic), max(float(found.pvalue), sys.float_info.min)
