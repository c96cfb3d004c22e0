"""The declared space: what is accepted, what is refused and how it is told, which values a grid takes from a range."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.config.load import load
from tunewright.errors import Problem, RecipeError
from tunewright.recipe import Recipe
from tunewright.tune.config import Tune
from tunewright.tune.space import describe_space, points, read_space
from tunewright.types import Range, Value

OPTIONS = ("train.lr", "train.epochs", "train.batch_size", "task.dropout", "模型.率")


def refuse(path: str, value: Value) -> Problem | None:
    """Whole numbers for epochs and batches, as the recipe has it; anything else everywhere."""
    is_whole = path in ("train.epochs", "train.batch_size")
    wrong = is_whole and (not isinstance(value, int) or value < 1)
    return Problem("override", f"`{path}` is out of range", value, "a whole number >= 1", "") if wrong else None


def declared(space: dict[str, Any]) -> dict[str, Any]:
    return dict(Tune.Config.model_validate({"space": space}).space)


def problems(space: dict[str, Any]) -> list[Problem]:
    with pytest.raises(RecipeError) as caught:
        read_space(declared(space), OPTIONS, refuse)
    return list(caught.value.problems)


def test_a_space_is_ranges_and_choices() -> None:
    space = read_space(
        declared(
            {
                "train.lr": {"low": 1e-5, "high": 1e-3, "log": True},
                "train.epochs": {"low": 1, "high": 4},
                "task.dropout": {"low": 0, "high": 1},
                "train.batch_size": [8, 16],
                "模型.率": ["好", None, True],
            }
        ),
        OPTIONS,
        refuse,
    )
    assert space == {
        "train.lr": Range(low=1e-5, high=1e-3, log=True),
        "train.epochs": Range(low=1, high=4, whole=True),
        "task.dropout": Range(low=0, high=1),
        "train.batch_size": (8, 16),
        "模型.率": ("好", None, True),
    }
    assert declared(describe_space(space)) == declared(
        describe_space(read_space(declared(describe_space(space)), OPTIONS, refuse))
    )


def test_a_range_ends_on_its_last_step() -> None:
    space = read_space(declared({"task.dropout": {"low": 0.0, "high": 0.5, "step": 0.2}}), OPTIONS, refuse)
    assert space == {"task.dropout": Range(low=0.0, high=0.4, step=0.2)}


def test_every_problem_is_told_at_once_with_the_nearest_name() -> None:
    found = problems({"train.epoch": [1], "train.batch_size": [0, 8], "train.lr": [1, 1], "data.test": [0.1]})
    assert (found[0].where, found[0].hint) == ("tune.space", "did you mean train.epochs?")
    assert found[1].where == "tune.space.train.batch_size"
    assert found[1].given == 0
    assert "twice" in found[2].problem
    assert "never searched" in found[3].hint
    assert all(one.problem and one.allowed for one in found)


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 1, "high": 1}, "low must be below high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "begins above 0"),
        ({"low": 0.1, "high": 1.0, "log": True, "step": 0.1}, "has no step"),
        ({"low": 0.1, "high": 0.2, "step": 0.5}, "longer than the range"),
    ],
)
def test_a_range_that_is_none_is_refused_with_the_recipe(bounds: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(Recipe, values={"data": "rows.csv", "tune": {"space": {"train.lr": bounds}}})
    assert told in str(caught.value)
    assert "tune.space" in caught.value.problems[0].where or "argument" in caught.value.problems[0].where


def test_overrides_are_nested_and_add_to_what_the_recipe_declares() -> None:
    values = {"data": "rows.csv", "tune": {"space": {"train.lr": {"low": 1e-5, "high": 1e-3}}}}
    overrides = ["tune.space.train.lr.low=1e-6", "tune.space.train.batch_size=[8, 16]"]
    found = load(Recipe, values=values, overrides=overrides).config.tune.space
    assert found == declared({"train.lr": {"low": 1e-6, "high": 1e-3}, "train.batch_size": [8, 16]})


@given(
    low=st.floats(1e-6, 1e3),
    width=st.floats(1.001, 1e3),
    count=st.integers(2, 9),
    log=st.booleans(),
    whole=st.booleans(),
)
def test_the_points_of_a_range_lie_in_it_and_reach_both_ends(
    low: float, width: float, count: int, log: bool, whole: bool
) -> None:
    one = Range(low=low, high=low * width, log=log)
    if whole:
        one = Range(low=int(low) + 1, high=int(low) + 1 + int(width) + 1, log=log, whole=True)
    found = points(one, count)
    numbers = [value for value in found if isinstance(value, int | float)]
    assert len(numbers) == len(found) == len(set(found))
    assert numbers == sorted(numbers)
    assert all(one.low <= number <= one.high for number in numbers)
    assert numbers[0] == pytest.approx(one.low)
    assert numbers[-1] == pytest.approx(one.high)


def test_a_step_decides_the_points() -> None:
    assert points(Range(low=0.0, high=0.6, step=0.2), 9) == pytest.approx((0.0, 0.2, 0.4, 0.6))
    assert points(Range(low=8, high=32, step=8, whole=True), 2) == (8, 16, 24, 32)
