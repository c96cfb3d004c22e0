"""Whether searching helps: strategies that learn beat chance on a known function, and a grid visits every point once."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from tunewright import extensions
from tunewright.config.base import config_of
from tunewright.errors import InputError
from tunewright.seams import Strategy
from tunewright.types import Range, Space, Trial, Trials

SPACE: Space = {
    "lr": Range(low=1e-6, high=1.0, log=True),
    "dropout": Range(low=0.0, high=1.0),
    "batch": Range(low=1, high=64, whole=True, log=True),
}
BUDGET = 20


def regret(parameters: Any) -> float:
    """A bowl with its bottom, 0, at lr 1e-3, dropout 0.2, batch 16; each term is at most about 1."""
    lr, dropout, batch = (float(parameters[name]) for name in SPACE)
    return (math.log10(lr / 1e-3) / 3) ** 2 + (dropout - 0.2) ** 2 + (math.log2(batch / 16) / 4) ** 2


def made(name: str, **options: Any) -> Strategy:
    strategy: Strategy = extensions.load("tune.strategy", name)(config_of("tune.strategy", name)(**options))
    return strategy


def drive(strategy: Strategy, space: Space, budget: int, seed: int, measure: Any) -> tuple[Trial, ...]:
    trials: tuple[Trial, ...] = ()
    for number in range(budget):
        parameters = strategy.ask(space, Trials(trials, higher_is_better=False), seed)
        if parameters is None:
            break
        trials += (Trial(number=number, parameters=parameters, state="complete", value=measure(parameters)),)
    return trials


def mean_regret(strategy: Strategy, seeds: range) -> float:
    return float(np.mean([min(t.value or 0.0 for t in drive(strategy, SPACE, BUDGET, seed, regret)) for seed in seeds]))


def test_strategies_that_learn_beat_chance_at_the_same_budget() -> None:
    chance = mean_regret(made("random"), range(8))
    assert mean_regret(made("tpe"), range(8)) < 0.75 * chance
    assert mean_regret(made("gp"), range(2)) < 0.3 * chance


def test_random_search_covers_the_space_evenly() -> None:
    """Kolmogorov-Smirnov distance of 120 draws from the uniform distribution: below 1.63 / sqrt(n) with p = 0.99."""
    trials = drive(made("random"), {"lr": SPACE["lr"], "dropout": SPACE["dropout"]}, 120, 5, lambda _: 0.0)
    for place in (
        [math.log10(float(str(t.parameters["lr"]))) / 6 + 1 for t in trials],
        [float(str(t.parameters["dropout"])) for t in trials],
    ):
        distance = np.abs(np.sort(place) - (np.arange(120) + 0.5) / 120).max()
        assert distance < 1.63 / math.sqrt(120)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_grid_visits_each_point_once_and_then_has_none_left(seed: int) -> None:
    space: Space = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "batch": (8, 16),
        "名": ("甲", "乙"),
        "epochs": Range(low=1, high=3, whole=True, step=1),
    }
    trials = drive(made("grid", points=3), space, 100, seed, lambda _: 0.0)
    visited = [tuple(trial.parameters.values()) for trial in trials]
    expected = set(product((1e-4, 1e-3, 1e-2), (8, 16), ("甲", "乙"), (1, 2, 3)))
    assert len(visited) == len(expected) == 36
    assert {(round(float(str(lr)), 12), *rest) for lr, *rest in visited} == expected
    halves = [row[1] for row in visited[:12]]
    assert {8, 16} == set(halves), "a search cut short has seen all over"


def test_a_grid_beyond_counting_is_refused() -> None:
    space: Space = {f"option{n}": Range(low=0.0, high=1.0) for n in range(20)}
    with pytest.raises(InputError, match="too many points"):
        made("grid").ask(space, Trials((), True), 0)
