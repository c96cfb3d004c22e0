"""The statistics against closed forms, scipy and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunewright.evaluate.metric.base import MeanMetric, MetricBase
from tunewright.evaluate.resample import (
    Observed,
    affordable_resamples,
    bootstrap,
    bootstrap_p,
    detectable_from,
    detectable_share,
    holm,
    mcnemar_p,
    percentile_interval,
    wilson_interval,
)
from tunewright.types import Floats


def mean_of(numbers: Floats) -> Observed:
    return Observed(MeanMetric(), np.stack([numbers, np.ones(len(numbers))], axis=1))


class Weights(MetricBase):
    """Hands out the weights themselves: the weight of the row that the statistics mark."""

    def values(self, statistics: Floats, weights: Floats) -> Floats:
        result: Floats = weights @ statistics[:, 0]
        return result


# ---------------------------------------------------------------------------------------------------------- McNemar


@given(b=st.integers(0, 12), c=st.integers(0, 12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_mcnemar_counts_every_way_the_coins_can_fall(b: int, c: int) -> None:
    """The probability, over all 2^(b+c) equally likely outcomes, of a split at least as uneven."""
    n = b + c
    uneven = sum(math.comb(n, k) for k in range(n + 1) if abs(k - n / 2) >= abs(b - n / 2))
    assert mcnemar_p(b, c) == pytest.approx(uneven / 2**n)


def test_mcnemar_by_enumeration_of_all_relabelings() -> None:
    """Under the null either system may own either answer of a discordant row."""
    outcomes = [sum(signs) for signs in itertools.product((-1, 1), repeat=9)]
    assert mcnemar_p(8, 1) == pytest.approx(sum(abs(s) >= 7 for s in outcomes) / len(outcomes))


def test_mcnemar_without_disagreement_says_nothing() -> None:
    assert mcnemar_p(0, 0) == 1.0


def test_mcnemar_on_partial_rows_is_never_more_significant() -> None:
    for b, c in itertools.product(range(30), repeat=2):
        assert mcnemar_p(b, c, share=0.44) >= mcnemar_p(b, c) - 1e-12


# --------------------------------------------------------------------------------------------------- intervals, Holm


@given(hits=st.integers(0, 50), misses=st.integers(0, 50))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_wilson_agrees_with_scipy(hits: int, misses: int) -> None:
    n = hits + misses
    if n:
        expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert wilson_interval(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=7))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_holm_is_the_closed_test_over_all_intersections(p_values: list[float]) -> None:
    """A hypothesis falls at a level if Bonferroni rejects every intersection that contains it (Holm 1979)."""
    numbers = range(len(p_values))
    groups = [g for size in numbers for g in itertools.combinations(numbers, size + 1)]
    for index, corrected in enumerate(holm(p_values)):
        closed = max(min(1.0, len(group) * min(p_values[i] for i in group)) for group in groups if index in group)
        assert corrected == pytest.approx(closed)


# ---------------------------------------------------------------------------------------------------------- bootstrap


def test_weights_are_multinomial() -> None:
    """Each resample draws N rows; a row's weight has mean 1 and variance 1 - 1/N, two rows covary by -1/N."""
    n, resamples = 12, 40_000
    marks = np.eye(n)
    table = bootstrap([Observed(Weights(), marks[:, [row]]) for row in range(n)], resamples, seed=1)
    assert (table.sum(axis=1) == n).all()
    assert table.mean(axis=0) == pytest.approx(np.ones(n), abs=0.03)
    covariance = np.cov(table.T)
    assert np.diag(covariance) == pytest.approx(np.full(n, 1 - 1 / n), abs=0.04)
    assert covariance[0, 1:] == pytest.approx(np.full(n - 1, -1 / n), abs=0.03)


def test_a_mean_spreads_by_its_standard_error() -> None:
    numbers = np.random.default_rng(0).normal(size=80)
    samples = bootstrap([mean_of(numbers)], 20_000, seed=2)[:, 0]
    error = numbers.std() / math.sqrt(80)
    assert samples.mean() == pytest.approx(numbers.mean(), abs=4 * error / math.sqrt(20_000))
    assert samples.std() == pytest.approx(error, rel=0.03)
    assert percentile_interval(samples) == pytest.approx(
        (numbers.mean() - 1.96 * error, numbers.mean() + 1.96 * error), abs=0.1 * error
    )


def test_the_whole_distribution_of_three_rows_is_met() -> None:
    """The 27 ordered resamples of (0, 1, 2) enumerated."""
    numbers = np.array([0.0, 1.0, 2.0])
    expected = np.bincount([sum(rows) for rows in itertools.product((0, 1, 2), repeat=3)], minlength=7) / 27
    samples = bootstrap([mean_of(numbers)], 30_000, seed=3)[:, 0]
    found = np.bincount(np.rint(samples * 3).astype(int), minlength=7) / 30_000
    assert found == pytest.approx(expected, abs=0.012)


def test_all_metrics_see_the_same_rows() -> None:
    numbers = np.random.default_rng(4).normal(size=50)
    table = bootstrap([mean_of(numbers), mean_of(numbers + 1)], 500, seed=4)
    assert table[:, 1] - table[:, 0] == pytest.approx(np.ones(500))


def test_a_seed_settles_everything() -> None:
    numbers = np.random.default_rng(5).normal(size=3000)
    first, second, third = (bootstrap([mean_of(numbers)], 1500, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_partial_rows_widen_the_spread() -> None:
    numbers = np.random.default_rng(6).normal(size=400)
    whole, part = (bootstrap([mean_of(numbers)], 8000, seed=7, share=share).std() for share in (1.0, 0.25))
    assert part / whole == pytest.approx(2.0, rel=0.05)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """95 % of the intervals of a difference in accuracy hold the true difference."""
    rng = np.random.default_rng(8)
    covered = 0
    for seed in range(300):
        differences = rng.choice([-1.0, 0.0, 1.0], size=200, p=[0.10, 0.75, 0.15])
        interval = percentile_interval(bootstrap([mean_of(differences)], 600, seed)[:, 0])
        assert interval is not None
        covered += interval[0] <= 0.05 <= interval[1]
    assert stats.binomtest(covered, 300, 0.95).pvalue > 0.001


def test_undefined_resamples_are_left_out() -> None:
    samples = np.array([np.nan, 1.0, 2.0, 3.0])
    assert percentile_interval(samples) == pytest.approx((1.05, 2.95))
    assert percentile_interval(np.array([np.nan])) is None
    assert bootstrap_p(np.array([np.nan])) == 1.0


def test_p_is_twice_the_smaller_side_plus_one() -> None:
    differences = np.concatenate([np.full(990, 1.0), np.full(9, -1.0)])
    assert bootstrap_p(differences) == pytest.approx(2 * 10 / 1000)
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(99)) == 1.0


def test_p_is_uniform_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(9)
    found = [bootstrap_p(bootstrap([mean_of(rng.normal(size=150))], 400, seed)[:, 0]) for seed in range(250)]
    assert stats.binomtest(sum(p < 0.05 for p in found), 250, 0.05).pvalue > 0.001
    assert 0.4 < np.mean(found) < 0.6


# -------------------------------------------------------------------------------------------------------------- power


def test_the_smallest_detectable_share_is_found_four_times_of_five() -> None:
    """Simulated: exact McNemar at a true difference of that size."""
    rows, rate = 2000, 0.15
    smallest = detectable_share(int(rate * rows), rows)
    assert smallest == pytest.approx(2.8 * math.sqrt(rate / rows))
    rng = np.random.default_rng(10)
    counts = rng.multinomial(rows, [(rate + smallest) / 2, (rate - smallest) / 2, 1 - rate], size=1500)
    power = np.mean([mcnemar_p(int(b), int(c)) < 0.05 for b, c, _ in counts])
    assert 0.74 < power < 0.84


def test_the_smallest_detectable_difference_of_a_mean_is_found_four_times_of_five() -> None:
    rng = np.random.default_rng(11)
    base = rng.normal(size=200)
    smallest = detectable_from(bootstrap([mean_of(base)], 4000, 1)[:, 0])
    found = [
        bootstrap_p(bootstrap([mean_of(rng.normal(smallest, 1.0, 200))], 400, seed)[:, 0]) < 0.05 for seed in range(300)
    ]
    assert 0.7 < np.mean(found) < 0.9


def test_no_disagreement_does_not_mean_that_anything_would_be_seen() -> None:
    assert detectable_share(0, 100) == pytest.approx(0.06)
    assert detectable_share(0, 3) == 1.0
    assert mcnemar_p(5, 0) > 0.05 > mcnemar_p(6, 0)


def test_huge_tables_get_fewer_resamples() -> None:
    assert affordable_resamples(10_000, 2_000) == 10_000
    assert affordable_resamples(10_000, 1_000_000) == 2_000
    assert affordable_resamples(10_000, 10_000_000) == 1_000
    assert affordable_resamples(300, 10_000_000) == 300
