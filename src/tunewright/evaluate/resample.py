"""Uncertainty: bootstrap, exact tests, intervals, and the smallest difference that a test can show.

    N rows, B resamples, M observed metrics

Every function says where its formula comes from. ``share`` below 1 makes each row count as that share of an independent
row; the out-of-fold design uses it (see ``out_of_fold``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tunewright.evaluate.metric.base import MetricBase
    from tunewright.types import Floats, Ints

NORMAL_975 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

POWER_FACTOR = 2.8
"""1.96 + 0.84: the 97.5 % and the 80 % quantiles, for a two-sided test at 0.05 with 80 % power (Cohen 1988, section 2.4)."""

CHUNK_CELLS = 2_000_000
ALL_SIGNS_ROWS = 14
LARGEST_WORK = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Observed:
    """A metric and its statistics[N, K] on the rows that are resampled."""

    metric: MetricBase
    statistics: Floats


def sample_rows(num_rows: int, max_rows: int, seed: int) -> Ints:
    """All row numbers, or ``max_rows`` of them drawn by ``seed``, ascending."""
    if num_rows <= max_rows:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng(seed).choice(num_rows, max_rows, replace=False))


def bootstrap(observed: Sequence[Observed], num_resamples: int, seed: int, share: float = 1.0) -> Floats:
    """Values[B, M] of each metric on B resamples of the same rows with replacement, NaN where one is undefined.

    All metrics see the same resamples, so differences between columns are paired (Efron & Tibshirani 1993, chapters 6
    and 13). With ``share`` below 1, round(share * N) rows are drawn each time, which widens the spread by
    1/sqrt(share) (the m-out-of-n bootstrap, Bickel, Götze & van Zwet 1997).
    """
    num_rows = len(observed[0].statistics)
    num_draws = max(1, round(share * num_rows))
    rng = np.random.default_rng(seed)
    results = np.empty((num_resamples, len(observed)))
    size = max(1, CHUNK_CELLS // num_rows)
    for start in range(0, num_resamples, size):
        part = results[start : start + size]
        weights = _draw_weights(rng, len(part), num_draws, num_rows)
        for column, each in enumerate(observed):
            part[:, column] = each.metric.values(each.statistics, weights)
    return results


def affordable_resamples(requested: int, num_rows: int) -> int:
    """``requested``, or fewer (never under 1,000) where B * N would pass two billion draws."""
    return min(requested, max(1000, LARGEST_WORK // max(1, num_rows)))


def percentile_interval(samples: Floats) -> tuple[float, float] | None:
    """The 2.5 % and 97.5 % quantiles of the defined samples[B], or None (Efron & Tibshirani 1993, section 13.3)."""
    defined = samples[np.isfinite(samples)]
    if len(defined) == 0:
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def bootstrap_p(differences: Floats) -> float:
    """Two-sided p-value of differences[B]: twice the smaller share on either side of 0.

    One is added above and below the line, so that B resamples never claim less than 2 / (B + 1) (Davison & Hinkley
    1997, equation 4.11). It inverts the percentile interval. 1.0 where nothing is defined.
    """
    defined = differences[np.isfinite(differences)]
    if len(defined) == 0:
        return 1.0
    smaller = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2.0 * (smaller + 1) / (len(defined) + 1))


def sign_flip_p(differences: Floats, num_flips: int, seed: int) -> float:
    """Two-sided p-value of the mean of paired differences[N] under random signs (Fisher 1935, section 21; Phipson & Smyth 2010).

    Exact where the differences are symmetric around 0, and never under 2^(1 - N): the bootstrap of a handful of rows, which
    has no such floor, claims more than they hold. All signs are tried up to 14 rows, else ``num_flips`` drawn ones.
    """
    num_rows = len(differences)
    observed = abs(float(differences.sum()))
    if observed == 0.0:
        return 1.0
    slack = observed * (1 - 1e-9)
    if num_rows <= ALL_SIGNS_ROWS:
        signs = 1.0 - 2.0 * ((np.arange(2**num_rows)[:, np.newaxis] >> np.arange(num_rows)) & 1)
        return float((np.abs(signs @ differences) >= slack).mean())
    rng = np.random.default_rng(seed)
    reached, size = 0, max(1, CHUNK_CELLS // num_rows)
    for start in range(0, num_flips, size):
        drawn = rng.integers(0, 2, size=(min(size, num_flips - start), num_rows), dtype=np.int8)
        reached += int((np.abs(differences.sum() - 2.0 * (drawn @ differences)) >= slack).sum())
    return (reached + 1) / (num_flips + 1)


def mcnemar_p(num_only_first: int, num_only_second: int, share: float = 1.0) -> float:
    """Exact two-sided p-value for two systems on the same rows (McNemar 1947, in the exact binomial form).

    The arguments count the rows that only the first, and only the second, answered rightly; rows on which they agree
    carry no information (Dietterich 1998, section 3.1 recommends the test). Without discordant rows p is 1. ``share``
    below 1 shrinks both counts, rounding against significance.
    """
    from scipy.stats import binomtest

    fewer, more = sorted((num_only_first, num_only_second))
    if share < 1.0:
        fewer, more = math.ceil(share * fewer), math.floor(share * more)
    if fewer >= more:
        return 1.0
    return float(binomtest(fewer, fewer + more, 0.5).pvalue)


def wilson_interval(share_right: float, num_rows: float) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927; Brown, Cai & DasGupta 2001, equation 4)."""
    square = NORMAL_975**2
    centre = (share_right + square / (2 * num_rows)) / (1 + square / num_rows)
    inside = share_right * (1 - share_right) / num_rows + square / (4 * num_rows**2)
    half = NORMAL_975 * math.sqrt(inside) / (1 + square / num_rows)
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values corrected for their number, step down (Holm 1979, section 3), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return tuple(corrected)


def detectable_share(num_discordant: int, num_rows: int, share: float = 1.0) -> float:
    """The smallest difference in the share of right rows that McNemar's test finds with 80 % power.

    2.8 * sqrt(discordant rate / n), the normal approximation of Connor 1987 for small differences; never under 6 / n,
    because with five discordant rows even five to nothing is not significant.
    """
    effective = num_rows * share
    return min(1.0, max(POWER_FACTOR * math.sqrt(num_discordant / num_rows / effective), 6.0 / effective))


def detectable_from(differences: Floats) -> float:
    """2.8 standard errors of the bootstrapped differences[B]: the smallest difference found with 80 % power."""
    defined = differences[np.isfinite(differences)]
    return POWER_FACTOR * float(defined.std(ddof=1)) if len(defined) > 1 else 0.0


def _draw_weights(rng: np.random.Generator, num_resamples: int, num_draws: int, num_rows: int) -> Floats:
    """How often each row is drawn: multinomial counts[B, N] as floats, by counting uniform draws."""
    rows = rng.integers(0, num_rows, size=(num_resamples, num_draws))
    rows += np.arange(num_resamples)[:, np.newaxis] * num_rows
    counts = np.bincount(rows.ravel(), minlength=num_resamples * num_rows)
    return counts.reshape(num_resamples, num_rows).astype(np.float64)
