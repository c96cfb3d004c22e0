"""Is the mean of some rows further from the mean of the others than chance puts it? An exact test by permutation.

If window and reference are draws of one kind, every way to part the pooled rows into two groups of these sizes is equally
likely, whatever the features are, as long as they do not know which group a row is of. N rows, F features, B permutations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tunewright.types import Floats

ENOUGH = 10
"""So many permutations at least as extreme settle that there is nothing to see."""

AT_ONCE = 100


def mean_shift(features: Any, num_window: int, level: float, seed: int) -> tuple[float, float]:
    """The squared distance between the means of the first ``num_window`` rows of features[N, F] and the others, and its p.

    With a linear kernel this is the biased squared MMD (Gretton et al. 2012, equation 5). Permutations are drawn until
    ``ENOUGH`` reach the distance (p = 10 / drawn) or there are enough for four to lie under ``level`` (p = (reached + 1) /
    (drawn + 1)); the p-value is valid either way (Besag & Clifford 1991, section 2). ``features`` may be sparse.
    """
    num_rows = features.shape[0]
    total = np.asarray(features.sum(axis=0)).ravel()
    is_window = np.zeros((1, num_rows))
    is_window[0, :num_window] = 1.0
    observed = float(_distances(features, is_window, total)[0])
    rng = np.random.default_rng(seed)
    most = math.ceil(4 / level) - 1
    reached = drawn = 0
    while drawn < most:
        num = min(AT_ONCE, most - drawn)
        chosen = rng.permuted(np.repeat(is_window, num, axis=0), axis=1)
        hits = np.flatnonzero(_distances(features, chosen, total) >= observed * (1 - 1e-9))
        if reached + len(hits) >= ENOUGH:
            return observed, ENOUGH / (drawn + int(hits[ENOUGH - reached - 1]) + 1)
        reached, drawn = reached + len(hits), drawn + num
    return observed, (reached + 1) / (drawn + 1)


def _distances(features: Any, chosen: Floats, total: Floats) -> Floats:
    """The squared distance of the means for each choice of rows: chosen[B, N] in 0, 1 -> distance[B]."""
    num_in = chosen[0].sum()
    num_out = chosen.shape[1] - num_in
    sums: Floats = np.asarray((features.T @ chosen.T).T)
    gaps = sums / num_in - (total - sums) / num_out
    result: Floats = np.einsum("bf,bf->b", gaps, gaps)
    return result
