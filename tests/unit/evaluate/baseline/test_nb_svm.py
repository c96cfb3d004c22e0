"""NB-SVM against the formulas of the paper, written out plainly."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from tunewright.evaluate.baseline.nb_svm import NbSvm, log_count_ratio
from tunewright.types import Label

POSITIVE = ["good film", "good good fun", "fine fun film", "a good one", "fun"]
NEGATIVE = ["bad film", "bad bad bore", "dull film", "a bad one", "bore"]
GOLD = Label(("neg", "pos"), np.array([1] * 5 + [0] * 5))


def ratios_by_hand(texts: list[str], right: list[bool]) -> dict[str, float]:
    """r = log((p / |p|) / (q / |q|)) over the presence of words and word pairs, smoothed by 1."""
    rows = [{*t.split(), *(" ".join(pair) for pair in zip(t.split(), t.split()[1:], strict=False))} for t in texts]
    counts = [
        Counter(w for row, side in zip(rows, right, strict=True) if side is wanted for w in row)
        for wanted in (True, False)
    ]
    words = sorted(set().union(*rows))
    p, q = ({w: 1 + count[w] for w in words} for count in counts)
    return {w: math.log((p[w] / sum(p.values())) / (q[w] / sum(q.values()))) for w in words}


def test_the_ratio_is_the_papers() -> None:
    expected = ratios_by_hand(POSITIVE + NEGATIVE, [True] * 5 + [False] * 5)
    baseline = NbSvm()
    features = baseline._counter.fit(POSITIVE + NEGATIVE)
    found = log_count_ratio(features, GOLD.chosen == 1, 1.0)
    words = baseline._counter._counter.get_feature_names_out()
    assert dict(zip(words, found, strict=True)) == pytest.approx(expected)


def test_the_weights_are_the_papers() -> None:
    """w' = (1 - 0.25) mean|w| + 0.25 w over r * f, by a machine trained beside it."""
    baseline = NbSvm(seed=0)
    texts = POSITIVE + NEGATIVE
    baseline.fit(texts, GOLD, None)
    features = baseline._counter.count(texts).toarray()
    ratio = log_count_ratio(csr_matrix(features), GOLD.chosen == 1, 1.0)
    machine = LinearSVC(C=1.0, tol=1e-3, max_iter=300, dual=True, random_state=0).fit(features * ratio, GOLD.chosen)
    w = machine.coef_[0]
    scores = (features * ratio) @ (0.75 * np.abs(w).mean() + 0.25 * w) + 0.25 * machine.intercept_[0]
    assert baseline._scores(csr_matrix(features))[:, 1] == pytest.approx(scores)
    assert baseline._scores(csr_matrix(features))[:, 0] == pytest.approx(-scores)


def test_presence_counts_not_frequency() -> None:
    baseline = NbSvm()
    baseline.fit(POSITIVE + NEGATIVE, GOLD, None)
    once, often = (baseline.predict([text], None).probabilities for text in ("good", "good good good"))
    assert once is not None
    assert often is not None
    assert often[0, 1] == pytest.approx(once[0, 1], abs=1e-12)


def test_the_temperature_does_not_change_an_answer() -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["x", "y", "z", "u", "v"], (300, 4))
    texts = [" ".join(row) for row in words]
    gold = Label(("a", "b", "c"), np.array([int((row == "x").sum() > 1) + int((row == "y").any()) for row in words]))
    baseline = NbSvm()
    baseline.fit(texts, gold, None)
    answer = baseline.predict(texts, None)
    scores = baseline._scores(baseline._counter.count(texts))
    assert np.array_equal(answer.chosen, scores.argmax(axis=1))
    assert answer.probabilities is not None
    assert np.array_equal(answer.probabilities.argmax(axis=1), answer.chosen)
