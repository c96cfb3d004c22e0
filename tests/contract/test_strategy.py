"""Every file in ``tune/strategy`` is a Strategy: it stays in the space, keeps nothing, and answers the same the second time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tunewright import extensions
from tunewright.config.base import config_of
from tunewright.seams import Strategy
from tunewright.types import Range, Space, Trial, Trials, Value

FAMILY = "tune.strategy"
SPACE: Space = {
    "train.lr": Range(low=1e-5, high=1e-2, log=True),
    "task.dropout": Range(low=0.0, high=0.4, step=0.2),
    "train.epochs": Range(low=1, high=5, whole=True),
    "model.name": ("甲", "b", None, 3, False),
}
STATES = ("complete", "pruned", "failed", "complete")


class OneEnd:
    """The seam's fake: one end of every range, and the choices in turn."""

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value]:
        turn = len(ended.ended) + seed
        return {
            path: one[turn % len(one)] if isinstance(one, tuple) else one.high if seed else one.low
            for path, one in space.items()
        }


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def strategy(request: pytest.FixtureRequest) -> Strategy:
    if request.param == "a fake":
        return OneEnd()
    options: dict[str, Any] = {"startup": 3} if request.param in ("tpe", "gp") else {}
    made: Strategy = extensions.load(FAMILY, request.param)(config_of(FAMILY, request.param)(**options))
    return made


def contains(one: Range | tuple[Value, ...], value: Value) -> bool:
    if isinstance(one, tuple):
        return any(value is each or (value == each and type(value) is type(each)) for each in one)
    assert isinstance(value, int | float)
    steps = 0.0 if one.step is None else (value - one.low) / one.step
    on_step = abs(steps - round(steps)) < 1e-9
    return one.low <= value <= one.high and on_step and (isinstance(value, int) or not one.whole)


def driven(strategy: Strategy, count: int, higher_is_better: bool, seed: int = 0) -> Trials:
    """Trials that ended in every way that a trial can end."""
    trials = Trials((), higher_is_better)
    for number in range(count):
        parameters = strategy.ask(SPACE, trials, seed)
        assert parameters is not None
        state: Any = STATES[number % len(STATES)]
        value = None if state == "failed" else 0.1 * (number % 5)
        validations = {1: 0.05 * number} if state != "failed" else {}
        trial = Trial(number=number, parameters=parameters, state=state, value=value, validations=validations)
        trials = replace(trials, all=(*trials.all, trial))
    return trials


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_what_it_asks_for_lies_in_the_space(strategy: Strategy, higher_is_better: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trials = driven(strategy, 8, higher_is_better)
    for trial in trials.all:
        assert list(trial.parameters) == list(SPACE)
        assert all(contains(SPACE[path], value) for path, value in trial.parameters.items()), trial.parameters


def test_the_same_trials_and_seed_give_the_same_point(strategy: Strategy) -> None:
    trials = driven(strategy, 6, higher_is_better=True)
    first = strategy.ask(SPACE, trials, 0)
    assert strategy.ask(SPACE, trials, 0) == first
    driven(strategy, 3, higher_is_better=False, seed=9)
    assert strategy.ask(SPACE, trials, 0) == first, "it remembers nothing"
    running = Trial(number=6, parameters=first or {})
    assert strategy.ask(SPACE, replace(trials, all=(*trials.all, running)), 0) == first


def test_it_is_drawn_by_the_seed_and_moves_on(strategy: Strategy) -> None:
    points = {str(trial.parameters) for trial in driven(strategy, 8, higher_is_better=True).all}
    others = {str(trial.parameters) for trial in driven(strategy, 8, higher_is_better=True, seed=1).all}
    assert len(points) > 1
    assert points != others


def test_an_empty_record_is_enough(strategy: Strategy) -> None:
    assert strategy.ask({"model.name": ("only",)}, Trials((), True), 0) == {"model.name": "only"}
