"""The change in shares, told by the one that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tunewright.types import Floats


def largest_change(names: Sequence[str], now: Floats, before: Floats) -> tuple[float, str]:
    """From indicators or shares of N rows in C names, now[N, C] and before[M, C]: the largest change, and a sentence."""
    shares = np.stack([now.mean(axis=0), before.mean(axis=0)])
    changed = int(np.argmax(np.abs(shares[0] - shares[1])))
    value = float(abs(shares[0, changed] - shares[1, changed]))
    return value, f"`{names[changed]}`: {shares[0, changed]:.1%}, {shares[1, changed]:.1%} before"
