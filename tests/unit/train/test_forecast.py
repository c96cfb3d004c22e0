"""The arithmetic of a forecast: the pace of updates, the line of memory, commits, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tunewright.train.batches import Batches
from tunewright.train.forecast import (
    Forecast,
    Work,
    all_work,
    explained,
    extrapolate,
    fit_pace,
    fitting_budget,
    in_words,
    num_commits,
)


def measured(lengths: list[int], factors: tuple[float, float, float], noise: float = 1.0) -> tuple[Work, float]:
    tokens, squares = sum(lengths), sum(length**2 for length in lengths)
    return Work(tokens, squares), noise * (factors[0] + factors[1] * tokens + factors[2] * squares)


@pytest.mark.parametrize("factors", [(0.05, 1e-4, 1e-7), (0.0, 2e-3, 0.0), (0.2, 0.0, 3e-6), (0.0, 1e-5, 1e-8)])
def test_the_pace_is_found_where_three_updates_of_different_length_were_measured(
    factors: tuple[float, float, float],
) -> None:
    seen = [measured(lengths, factors) for lengths in ([60], [60] * 4, [60] * 32, [20] * 32, [5] * 32)]
    pace = fit_pace(seen)
    for work, seconds in [*seen, measured([33] * 17, factors)]:
        assert pace.seconds(work) == pytest.approx(seconds, rel=1e-6)


def test_few_or_noisy_updates_never_give_a_negative_pace() -> None:
    one = fit_pace([measured([10], (0.0, 0.01, 0.0))])
    assert one.seconds(Work(100, 0)) == pytest.approx(1.0)
    two = fit_pace([measured([10], (0.5, 0.01, 0.0)), measured([10, 10], (0.5, 0.01, 0.0))])
    assert two.seconds(Work(100, 0)) == pytest.approx(1.5)
    falling = fit_pace([(Work(10, 100), 2.0), (Work(100, 1000), 1.0), (Work(1000, 10_000), 1.5)])
    assert all(factor >= 0 for factor in falling.factors)
    twice = fit_pace([measured([10], (0.0, 0.01, 0.0), 0.9), measured([10], (0.0, 0.01, 0.0), 1.1)])
    assert twice.seconds(Work(10, 0)) == pytest.approx(0.1, rel=0.02)


def test_every_update_is_counted_and_long_trainings_by_their_first_epochs(make_examples: Callable[..., Any]) -> None:
    examples = make_examples(10)
    batches = Batches(examples, batch_size=4, token_budget=24, seed=7)
    lengths = np.array([len(ids) for ids in examples.ids])
    work, repeats = all_work(batches, lengths, 3)
    assert (len(work), repeats) == (9, 1.0)
    assert sum(each.tokens for each in work) == 3 * lengths.sum()
    assert sum(each.squares for each in work) == 3 * (lengths**2).sum()
    work, repeats = all_work(batches, lengths, 50)
    assert repeats * sum(each.tokens for each in work) == pytest.approx(50 * lengths.sum())


@pytest.mark.parametrize("pads", [True, False])
def test_the_size_of_an_update_is_that_of_its_largest_micro_batch(
    make_examples: Callable[..., Any], pads: bool
) -> None:
    batches = Batches(make_examples(30), batch_size=15, token_budget=40, seed=7, pads=pads)
    for step in range(2):
        lengths = [batch.streams["source"].bounds.diff() for batch in batches.micro_batches(step)]
        sizes = [len(each) * int(each.max()) if pads else int(each.sum()) for each in lengths]
        assert batches.size(batches.rows(step)) == max(sizes)


def test_memory_goes_on_along_the_two_largest_batches() -> None:
    peaks = [(100, 1000), (200, 1000), (400, 1400)]
    assert extrapolate(peaks, 1000) == 1400 + 2 * 600
    assert extrapolate(peaks, 300) == 1400
    assert extrapolate(peaks[:1], 5000) == 1000
    assert extrapolate([(100, 1000), (200, 900)], 400) == 1000


def test_the_budget_that_fits_is_a_power_of_two_under_the_limit() -> None:
    peaks = [(1000, 10_000), (2000, 12_000)]
    budget = fitting_budget(peaks, 20_000)
    assert budget == 4096
    assert extrapolate(peaks, budget) <= 20_000
    assert fitting_budget(peaks, 7_000) == 0
    assert fitting_budget(peaks[:1], 20_000) == 0


@pytest.mark.parametrize(
    ("evaluations", "seconds", "commits"), [(3, 30.0, 3), (3, 100.0, 3), (1, 150.0, 3), (4, 1000.0, 20)]
)
def test_a_commit_follows_each_evaluation_and_each_minute_between(
    evaluations: int, seconds: float, commits: int
) -> None:
    assert num_commits(evaluations, seconds, 60.0) == commits


def test_what_is_said() -> None:
    forecast = Forecast(
        num_updates=96, num_evaluations=3, num_commits=3, update_seconds=200.0, evaluation_seconds=12.0,
        commit_seconds=6.0, closing_seconds=2.0, judge_seconds=9.2, memory_bytes=2_100_000_000, disk_bytes=310_000_000,
        rehearsal_seconds=8.0, is_measured=True,
    )  # fmt: skip
    assert in_words(forecast) == "about 3 min 40 s, 2.1 GB of memory, 310 MB of disk"
    assert "96 updates, 3 evaluations, 3 commits" in explained(forecast, 400)
    assert "at the least: two readings of 400 test rows" in explained(forecast, 400)
    assert forecast.as_json()["train_seconds"] == forecast.train_seconds == 220.0
