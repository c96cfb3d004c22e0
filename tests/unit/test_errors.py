"""Errors in four parts, on the screen and as JSON, with the exit codes that were promised."""

from __future__ import annotations

import json

import pytest

from tunewright import errors
from tunewright.errors import (
    GateError,
    InputError,
    MachineError,
    Problem,
    RecipeError,
    TunewrightError,
    nearest,
    shorten,
)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("InputError", 2),
        ("RecipeError", 2),
        ("GateError", 3),
        ("MachineError", 1),
        ("CorruptError", 1),
        ("Interrupted", 130),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind: type[TunewrightError] = getattr(errors, name)
    assert kind.exit_code == code
    assert f"{name} " in (errors.__doc__ or "")


def test_the_four_parts_on_the_screen() -> None:
    error = InputError(
        "no such column", where="a.csv:1", given="txet", allowed="text, label", hint="did you mean text?"
    )
    assert str(error).splitlines() == [
        "a.csv:1: no such column",
        "  given:   txet",
        "  allowed: text, label",
        "  try:     did you mean text?",
    ]


def test_empty_parts_are_left_out() -> None:
    assert str(MachineError("the disk is full")) == "the disk is full"
    assert str(GateError("no", given=0)) == "no\n  given:   0"


def test_the_four_parts_as_json() -> None:
    error = GateError("too many rejected", where="data", given=[1], allowed="1 %", hint="data.max_rejected=0.1")
    assert json.loads(json.dumps(error.as_json())) == {
        "error": "GateError",
        "problem": "too many rejected",
        "where": "data",
        "given": "[1]",
        "allowed": "1 %",
        "hint": "data.max_rejected=0.1",
        "exit_code": 3,
    }
    assert MachineError("x").as_json()["given"] is None


def test_a_recipe_error_tells_every_problem() -> None:
    error = RecipeError([Problem("r.yaml:2", "first", 3, "4", "try 4"), Problem("r.yaml:9", "second")])
    assert str(error).splitlines() == [
        "r.yaml:2: first",
        "  given:   3",
        "  allowed: 4",
        "  try:     try 4",
        "r.yaml:9: second",
    ]
    shape = error.as_json()
    assert (shape["error"], shape["where"], shape["problem"], shape["exit_code"]) == (
        "RecipeError",
        "r.yaml:2",
        "first",
        2,
    )
    assert shape["problems"] == [
        {"where": "r.yaml:2", "problem": "first", "given": "3", "allowed": "4", "hint": "try 4"},
        {"where": "r.yaml:9", "problem": "second", "given": None, "allowed": "", "hint": ""},
    ]
    assert isinstance(error, InputError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("txet", "text"), ("TEXT", "text"), ("Lable", "label"), ("标题", "标题栏"), ("zzzzzz", None), ("", None)],
)
def test_the_nearest_name(name: str, expected: str | None) -> None:
    assert nearest(name, ["text", "label", "标题栏"]) == expected


def test_long_values_are_cut_to_one_line() -> None:
    assert shorten("a\n b\t c") == "a b c"
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 201) == "x" * 199 + "…"
    assert shorten({"a": 1}) == "{a: 1}"
