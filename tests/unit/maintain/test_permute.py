"""The permutation test against full enumeration, and its p-values against the uniform distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from tunewright.maintain.permute import mean_shift


def enumerated(features: np.ndarray, num_window: int) -> tuple[float, float]:
    """The squared distance, and the share of all partings that reach it."""
    rows = range(len(features))

    def distance(chosen: tuple[int, ...]) -> float:
        others = [row for row in rows if row not in chosen]
        return float(((features[list(chosen)].mean(axis=0) - features[others].mean(axis=0)) ** 2).sum())

    observed = distance(tuple(range(num_window)))
    reached = [distance(chosen) >= observed * (1 - 1e-9) for chosen in itertools.combinations(rows, num_window)]
    return observed, float(np.mean(reached))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_it_agrees_with_all_partings(shift: float) -> None:
    features = np.random.default_rng(4).normal(size=(12, 3))
    features[:5] += shift
    observed, p = enumerated(features, 5)
    found, estimated = mean_shift(features, 5, 0.002, seed=1)
    assert found == pytest.approx(observed)
    assert estimated == pytest.approx(p, rel=0.7, abs=2e-3)  # ten exceedances: a standard error of a third
    assert mean_shift(sparse.csr_matrix(features), 5, 0.002, seed=1) == pytest.approx((found, estimated))


def test_p_values_are_valid_at_every_level() -> None:
    rng = np.random.default_rng(0)
    p = np.array([mean_shift(rng.normal(size=(40, 4)), 15, 0.02, seed)[1] for seed in range(800)])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert stats.binomtest(int((p <= level).sum()), len(p), level, alternative="greater").pvalue > 0.001
    assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.06)


def test_the_finest_p_value_lies_under_the_level() -> None:
    features = np.repeat([[0.0], [1.0]], 60, axis=0)
    _, p = mean_shift(features, 60, 0.002, seed=0)
    assert p == pytest.approx(1 / 2000)


def test_one_label_per_row_gives_the_chi_square() -> None:
    rng = np.random.default_rng(3)
    labels = np.concatenate([rng.choice(3, 80, p=[0.5, 0.3, 0.2]), rng.choice(3, 160, p=[0.4, 0.3, 0.3])])
    chosen = np.eye(3)[labels]
    squared, p = mean_shift(chosen / np.sqrt(chosen.mean(axis=0)), 80, 0.001, seed=0)
    table = np.stack([chosen[:80].sum(axis=0), chosen[80:].sum(axis=0)])
    oracle = stats.chi2_contingency(table, correction=False)
    assert squared * 80 * 160 / 240 == pytest.approx(oracle.statistic)
    assert p == pytest.approx(oracle.pvalue, rel=0.8)
