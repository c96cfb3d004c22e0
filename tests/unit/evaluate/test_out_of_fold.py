"""Folds, the plan for them, and the averaging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.evaluate.out_of_fold import FoldPlan, make_folds, out_of_fold, plan_folds
from tunewright.types import Classified, Ints, Label, Labels


def labelled(counts: tuple[int, ...], seed: int = 0) -> Label:
    chosen = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return Label(tuple("abcdef"[: len(counts)]), chosen)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_fold_has_every_label_in_proportion(folds: int) -> None:
    gold = labelled((60, 33, 7))
    fold_of = make_folds(gold, folds, seed=0)
    for label, total in enumerate((60, 33, 7)):
        inside = np.bincount(fold_of[gold.chosen == label], minlength=folds)
        assert inside.sum() == total
        assert inside.max() - inside.min() <= 1
    sizes = np.bincount(fold_of, minlength=folds)
    assert sizes.max() - sizes.min() <= 2


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_unit_is_never_torn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold = labelled((50, 30), seed)
    units = rng.integers(0, 25, 80) * 1000
    fold_of = make_folds(gold, 5, seed, units)
    for unit in np.unique(units):
        assert len(np.unique(fold_of[units == unit])) == 1
    assert set(fold_of) == set(range(5))


def test_seeds_shuffle_and_settle() -> None:
    gold = labelled((40, 40))
    assert np.array_equal(make_folds(gold, 5, 1), make_folds(gold, 5, 1))
    assert not np.array_equal(make_folds(gold, 5, 1), make_folds(gold, 5, 2))


def test_several_labels_are_spread_by_their_rarest() -> None:
    chosen = np.zeros((100, 3), dtype=np.bool_)
    chosen[:, 0] = True
    chosen[:10, 2] = True
    fold_of = make_folds(Labels(("a", "b", "c"), chosen), 5, 0)
    assert np.bincount(fold_of[:10], minlength=5).tolist() == [2] * 5


@pytest.mark.parametrize(
    ("budget", "folds", "repeats"), [(1e9, 5, 10), (1000, 5, 2), (500, 5, 1), (300, 3, 1), (120, 2, 1), (100, 0, 0)]
)
def test_the_plan_fits_the_time(budget: float, folds: int, repeats: int) -> None:
    """500 rows, 2 epochs, 0.1 s a row: one round of 5, 3, 2 folds takes 50 * ((k - 1) * 2 + 1/3) s."""
    plan = plan_folds(500, 0.1, 2.0, budget)
    assert (plan.folds, plan.repeats) == (folds, repeats)
    if folds:
        assert 50 * ((folds - 1) * 2 + 1 / 3) * repeats <= budget


def test_the_plan_says_why() -> None:
    assert "500 rows are few; 5 folds take about 417 s and 2 x fit 1000 s" in plan_folds(500, 0.1, 2.0, 1000).reason
    assert "even two folds" in plan_folds(500, 0.1, 2.0, 10).reason
    assert plan_folds(500, 0.0, 2.0, 10).repeats == 1
    assert plan_folds(5, 0.1, 1.0, 100).folds == 2


def test_a_row_counts_less_the_fewer_the_folds() -> None:
    shares = [FoldPlan(folds, 1, "").share for folds in (5, 3, 2)]
    assert shares == pytest.approx([1 / 2.25, 1 / 2.5, 1 / 3])
    assert "Nadeau & Bengio 2003" in FoldPlan(5, 2, "").design
    assert "counted as 0.44" in FoldPlan(5, 2, "").design


def test_every_row_is_answered_by_models_that_never_saw_it() -> None:
    gold = labelled((30, 20))
    calls: list[tuple[set[int], set[int], int]] = []

    def fit_predict(train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        calls.append((set(train_rows.tolist()), set(test_rows.tolist()), repeat))
        return gold.take(test_rows)

    answer = out_of_fold(fit_predict, gold, FoldPlan(5, 2, ""), seed=0)
    assert len(calls) == 10
    for train, test, _ in calls:
        assert not train & test
        assert len(train | test) == 50
    for repeat in (0, 1):
        assert sorted(row for _, test, number in calls if number == repeat for row in test) == list(range(50))
    assert {frozenset(test) for _, test, number in calls if number == 0} != {
        frozenset(test) for _, test, number in calls if number == 1
    }
    assert np.array_equal(answer.chosen, gold.chosen)


def test_probabilities_are_averaged_over_the_repeats() -> None:
    gold = labelled((6, 6))

    def fit_predict(train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        first = np.full(len(test_rows), [0.9, 0.2, 0.2][repeat])
        probabilities = np.stack([first, 1 - first], axis=1)
        return Label(gold.names, probabilities.argmax(axis=1), probabilities)

    answer = out_of_fold(fit_predict, gold, FoldPlan(2, 3, ""), seed=0)
    assert answer.probabilities == pytest.approx(np.tile([1.3 / 3, 1.7 / 3], (12, 1)))
    assert (answer.chosen == 1).all()


def test_several_labels_are_voted_on() -> None:
    gold = Labels(("a", "b"), np.ones((8, 2), dtype=np.bool_))
    votes = [[True, False], [True, True], [False, False]]

    def fit_predict(train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        return Labels(gold.names, np.tile(votes[repeat], (len(test_rows), 1)))

    answer = out_of_fold(fit_predict, gold, FoldPlan(2, 3, ""), seed=0)
    assert answer.chosen.tolist() == [[True, False]] * 8
    assert answer.probabilities == pytest.approx(np.tile([2 / 3, 1 / 3], (8, 1)))


def test_more_folds_than_rows_is_no_obstacle() -> None:
    gold = labelled((2, 1))
    answer = out_of_fold(lambda train, test, repeat: gold.take(test), gold, FoldPlan(5, 1, ""), seed=0)
    assert np.array_equal(answer.chosen, gold.chosen)


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[float, float | None]] = []
    gold = labelled((10, 10))
    out_of_fold(
        lambda train, test, repeat: gold.take(test),
        gold,
        FoldPlan(2, 2, ""),
        seed=0,
        tell=lambda label, done, total, note: told.append((done, total)),
    )
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
