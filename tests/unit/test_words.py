"""How values and counts are put in words, and that each message about an option says a value that works."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tunewright.config.base import family_of
from tunewright.config.reference import options
from tunewright.errors import RecipeError
from tunewright.recipe import Recipe, read_request
from tunewright.words import counted, shown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", "''"), ("中文", "中文"), (None, "none"), (True, "true"), (3, "3"), (5e-5, "5e-05"),
        (("majority", "nb_svm"), "majority, nb_svm"), (["一", "二"], "一, 二"), ([], "[]"), ([[1, 2], 3], "[1, 2], 3"),
        ({"text": "评论", "tags": ["a", "b"]}, "{text: 评论, tags: [a, b]}"),
    ],
)  # fmt: skip
def test_values_are_shown_as_they_are_typed(value: object, written: str) -> None:
    assert shown(value) == written


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0 rows"), (1, "1 row"), (1.0, "1 row"), (2, "2 rows"), (2121, "2,121 rows"), (0.5, "0.5 rows")],
)
def test_counts_agree_with_their_noun(number: float, written: str) -> None:
    assert counted(number, "row") == written
    assert counted(1, "row was", "rows were") == "1 row was"
    assert counted(3, "row was", "rows were") == "3 rows were"


def _wrong() -> Iterator[str]:
    for path, field in options(Recipe).items():
        if not path.startswith(("task.", "method.")) and not family_of(field):
            yield from (f"{path}={value}" for value in ("{a: {b: c}}", "wrong", "-1e30", "[[x]]"))
    yield from (f"task.name=classify|task.{option}" for option in ("dropout=much", "label_smoothing=2", "output=no"))
    yield from ("data.validation=0.6|data.test=0.5", "task=klassify", "task=zzz", "method=zzz")


@pytest.mark.parametrize("given", list(_wrong()))
def test_a_wrong_value_is_answered_with_one_that_works(given: str) -> None:
    overrides = given.split("|")
    try:
        read_request("a.csv", overrides, {}, {})
    except RecipeError as error:
        for problem in error.problems:
            assert problem.problem
            assert problem.allowed
            assert problem.hint
            typed = problem.hint.removesuffix(" (the default)")
            if "=" in typed and "?" not in typed:
                read_request("a.csv", [*overrides[:-1], *shlex.split(typed)], {}, {})
