"""YAML 1.2 as it is written by people, and files that only look like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.config.load import load
from tunewright.config.read import MAX_BYTES, read_yaml
from tunewright.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1e5", 1e5),
        ("-3", -3),
        ("0x1F", 31),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("2026-01-02", "2026-01-02"),
        ("1:30", "1:30"),
        ("'5'", "5"),
        ("你好", "你好"),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_values_by_the_rules_of_yaml_1_2(text: str, value: object) -> None:
    document = read_yaml(text, str)
    assert document.value == value
    assert type(document.value) is type(value)
    assert document.problems == ()


def test_every_key_and_item_has_its_line() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c:\n      d\n", str)
    assert document.lines == {(): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c"): 4}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("content", "line", "problem", "hint"),
    [
        (b"", ":1", "the recipe is empty", "begin the file"),
        (b"# only a comment\n", ":1", "the recipe is empty", "begin the file"),
        (b"- a\n- b\n", ":1", "a recipe is a mapping", "begin the file"),
        (b"just text", ":1", "a recipe is a mapping", "begin the file"),
        (b"data: x\n", ":1", "the recipe names no version", "begin the file"),
        (b"data: x\nversion: '1'\n", ":2", "this version of the format is not known", "begin the file"),
        (b"version: true\ndata: x\n", ":1", "this version of the format is not known", "begin the file"),
        (b"version: 1\ntrain:\n\tlr: 1\n", ":3", "this is not YAML", "indent with spaces"),
        (b"version: 1\ndata: 'x\n", ":3", "this is not YAML", "quotes"),
        (b"version: 1\n---\ndata: x\n", ":2", "this is not YAML", ""),
        (b"version: 1\ndata: *x\n", ":2", "this is not YAML", ""),
        (b"version: 1\ndata: \x07\n", ":2", "this is not YAML", "unprintable"),
        (b"version: 1\ndata: caf\xe9\n", ":2", "the recipe is not UTF-8 text", "save the file as UTF-8"),
        ("version: 1\n".encode("utf-16"), ":1", "the recipe is not UTF-8 text", "save the file as UTF-8"),
        (b"version: 1\ndata: !!python/object:os.system x\n", ":2", "tags are not used", "leave it out"),
        (b"version: 1\ndata: x\n? [a]\n: b\n", ":3", "a key must be a name", ""),
        (b"version: 1\nname: &a [*a]\n", ":2", "there is too much in it", "without aliases"),
        (("version: 1\n" + BOMB).encode(), "", "there is too much in it", "without aliases"),
        (b"version: 1\nname: " + b"[" * 1_000, "", "there is too much in it", "without aliases"),
        (b"version: 1\n" + b"x" * 10_000_000, "", "the file is too large", "name it in a recipe"),
        (b"version: 1\ndata: x\nname: " + b"9" * 5_000, ":3", "the value cannot be read", ""),
        (b"version: 1\ndata: x\nname: !!int\n", ":3", "the value cannot be read", ""),
    ],
)
def test_what_is_no_recipe(root: Any, tmp_path: Path, content: bytes, line: str, problem: str, hint: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load(root, path=path)
    found = next(one for one in caught.value.problems if one.problem.startswith(problem))
    assert found.where.startswith(f"{path}{line}")
    assert found.allowed
    assert hint in found.hint


def test_the_largest_recipe_is_still_read(root: Any, tmp_path: Path) -> None:
    text = "version: 1\ndata: x\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(text + "#" * (MAX_BYTES - len(text)))
    assert load(root, path=path).config.data.path == Path("x")


def test_a_byte_order_mark_is_skipped(root: Any, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\ndata: \xe5\x95\x86.csv\n")
    assert load(root, path=path).config.data.path == Path("商.csv")


def test_a_missing_recipe_names_the_nearest(root: Any, tmp_path: Path) -> None:
    (tmp_path / "movies.yaml").touch()
    with pytest.raises(RecipeError) as caught:
        load(root, path=tmp_path / "moveis.yaml")
    [problem] = caught.value.problems
    assert problem.problem == "there is no such recipe"
    assert problem.hint == f"did you mean {tmp_path / 'movies.yaml'}?"


def test_a_folder_is_no_recipe(root: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load(root, path=tmp_path)


PIECES = [
    "version: 1", "\n", "\n  ", "\n- ", ": ", "data", "task", "name", "train", "lr", "extra", "method", "model", "columns", "x",
    "1", "-1e5", ".nan", "null", "[", "]", "{", "}", ",", "'", '"', "#", "&a ", "*a", "!!str ", "|", ">", "? ", "%", "\t",
    "<<", "é", "数据", "\x00", "\r",
]  # fmt: skip


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14), override=st.lists(st.sampled_from(PIECES), max_size=5))
def test_whatever_is_written_is_loaded_or_explained(
    root: Any, tmp_path: Path, pieces: list[str], override: list[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("version: 1\ndata: x\n" + "".join(pieces), encoding="utf-8", newline="")
    try:
        load(root, path=path, overrides=["train." + "".join(override), "method" + "".join(override)])
    except RecipeError as error:
        assert error.problems
        assert all(problem.where and problem.problem for problem in error.problems)
