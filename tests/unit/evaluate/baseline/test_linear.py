"""Logistic regression, the inner split, and temperatures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix

from tunewright.evaluate.baseline._linear import (
    LogisticModel,
    choose_strength,
    fit_temperature,
    inner_split,
    log_loss_of,
    softmax,
)
from tunewright.types import Floats, Label, Labels


def blobs(num_rows: int, noise: float, seed: int = 0) -> tuple[Floats, Label]:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, 3, num_rows)
    return np.eye(3)[chosen] + noise * rng.normal(size=(num_rows, 3)), Label(("a", "b", "c"), chosen)


def test_sparse_and_dense_learn_the_same() -> None:
    features, gold = blobs(400, 0.4)
    other, truth = blobs(200, 0.4, seed=1)
    dense = LogisticModel(1.0).fit(features, gold).probabilities(other)
    sparse = LogisticModel(1.0).fit(csr_matrix(features), gold).probabilities(csr_matrix(other))
    for probabilities in (dense, sparse):
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(200))
        assert (probabilities.argmax(axis=1) == truth.chosen).mean() > 0.85
    assert np.abs(dense - sparse).mean() < 0.1


def test_noise_calls_for_more_regularisation() -> None:
    rng = np.random.default_rng(0)
    gold = Label(("a", "b"), rng.integers(0, 2, 200))
    clean = np.eye(2)[gold.chosen]
    noise = rng.normal(size=(200, 60))
    strengths = (0.001, 0.1, 10.0, 1000.0)
    assert choose_strength(clean, gold, 0, strengths) == 1000.0
    assert choose_strength(noise, gold, 0, strengths) == 0.001


def test_the_inner_split_holds_out_a_stratified_fifth() -> None:
    gold = Label(("a", "b"), np.repeat([0, 1], [900, 100]))
    fitted, held_out = inner_split(gold, 0)
    assert len(held_out) == 200
    assert sorted([*fitted, *held_out]) == list(range(1000))
    assert (gold.chosen[held_out] == 1).sum() == 20
    assert len(inner_split(Label(("a",), np.zeros(50_000, dtype=np.int64)), 0)[1]) == 800
    assert len(inner_split(gold.take(np.array([0])), 0)[1]) == 0


def test_the_temperature_is_the_best_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(800, 3))
    truth = np.array([rng.choice(3, p=row) for row in softmax(scores / 0.3)])
    gold = Label(("a", "b", "c"), truth)
    best = minimize_scalar(lambda t: log_loss_of(softmax(scores / t), gold), bounds=(0.01, 10), method="bounded").x
    assert fit_temperature(scores, gold) == pytest.approx(best, rel=0.08)
    assert best == pytest.approx(0.3, rel=0.15)


def test_a_label_that_all_or_no_rows_have_keeps_its_smoothed_share() -> None:
    chosen = np.stack([np.ones(10), np.zeros(10), np.arange(10) < 5], axis=1).astype(np.bool_)
    gold = Labels(("all", "none", "half"), chosen)
    probabilities = (
        LogisticModel(1.0).fit(csr_matrix(chosen[:, 2:].astype(float)), gold).probabilities(csr_matrix([[1.0]]))
    )
    assert probabilities[0, :2] == pytest.approx([11 / 12, 1 / 12])
    assert probabilities[0, 2] > 0.5
