"""What is written reads back as what it was, whatever the values are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.config.base import ComponentConfig, Option
from tunewright.config.load import load, with_automatic
from tunewright.config.write import read_back, to_json, to_yaml
from tunewright.types import Choice


class Anything(ComponentConfig):
    text: str = Option("", "Text.")
    number: float = Option(0.0, "A number.")
    names: dict[str, str] = Option({}, "Text by text.")
    items: list[str | int | bool | None] = Option([], "A list.")


def test_every_value_has_its_origin_as_a_comment(root: Any, write: Callable[[str], Path]) -> None:
    path = write("version: 1\ndata: 评论.csv\ntrain: {lr: 1e-05}\n")
    loaded = with_automatic(
        load(root, path=path, overrides=["name=no"]), [Choice("task", "tag", "one\nlabel per word")]
    )
    text = to_yaml(loaded).replace(str(path), "recipe.yaml")
    assert [" ".join(line.split()) for line in text.splitlines()[:7]] == [
        "version: 1",
        'name: "no" # override name',
        "data:",
        "path: 评论.csv # recipe.yaml:2",
        "columns: {} # default",
        "clean: [] # default",
        "test: 0.2 # default",
    ]
    assert len({line.index("  # ") for line in text.splitlines() if "  # " in line}) == 1
    assert re.search("^  name: tag +# automatic: one label per word$", text, re.MULTILINE)
    assert re.search("^  lr: 1e-05 +# recipe.yaml:3$", text, re.MULTILINE)
    assert read_back(root, text) == loaded.config


def test_json_holds_values_and_origins(root: Any) -> None:
    filled = to_json(load(root, values={"data": "x"}, overrides=["train.epochs=7"]))
    again = json.loads(json.dumps(filled))
    assert again == filled
    assert again["values"]["version"] == 1
    assert again["values"]["train"]["epochs"] == 7
    assert again["origins"]["train.epochs"] == "override train.epochs"
    del again["values"]["version"]
    assert load(root, values=again["values"]).config.train.epochs == 7


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "no",
        "null",
        "1e-5",
        "~",
        "0x1",
        ".inf",
        "- a",
        "a: b",
        "a #b",
        "{x}",
        "'",
        '"',
        "\\",
        "\n",
        "\t",
        "\x85",
        "\u2028",
        "😀",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    text=texts,
    number=st.floats(allow_nan=False, allow_infinity=False),
    names=st.dictionaries(texts, texts, max_size=3),
    items=st.lists(texts | st.integers() | st.booleans() | st.none(), max_size=4),
)
def test_any_value_survives_the_round_trip(
    text: str, number: float, names: dict[str, str], items: list[object]
) -> None:
    loaded = load(Anything, values={"text": text, "number": number, "names": names, "items": items})
    assert read_back(Anything, to_yaml(loaded)) == loaded.config


def test_a_configuration_that_would_read_back_differently_is_not_written(
    root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(root, values={"data": "x"})
    monkeypatch.setattr("tunewright.config.write.read_back", lambda root, text: None)
    with pytest.raises(AssertionError, match="reads back differently"):
        to_yaml(loaded)
