"""The JSON Schema says what the loader does, and the reference names every option."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tunewright.config.base import ComponentConfig, Option
from tunewright.config.reference import extension_reference, options, reference
from tunewright.config.schema import in_words, option_schema, recipe_schema


def test_the_schema_is_plain_json_without_references(root: Any) -> None:
    text = json.dumps(recipe_schema(root))
    assert "$ref" not in text
    assert "x-family" not in text
    assert "x-shorthand" not in text


def test_the_schema_of_a_recipe(root: Any) -> None:
    schema = recipe_schema(root)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["version", "data"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["version"]["const"] == 1
    lr = properties["train"]["properties"]["lr"]
    assert lr == {"default": 5e-5, "description": "Learning rate.", "exclusiveMinimum": 0, "type": "number"}
    bare, full = properties["model"]["anyOf"]
    assert bare["type"] == "string"
    assert full["properties"]["layers"]["anyOf"][1] == {"type": "null"}


def test_an_extension_is_a_bare_name_or_a_mapping(root: Any) -> None:
    schema = recipe_schema(root)["properties"]
    task = schema["task"]["oneOf"]
    assert [choice["const"] for choice in task if "const" in choice] == ["auto", "classify", "tag"]
    full = {choice["properties"]["name"]["const"]: choice for choice in task if "properties" in choice}
    assert full["classify"]["required"] == ["name"]
    assert full["rank"]["required"] == ["name", "depth"]
    assert full["rank"]["description"] == "Put texts in order."
    assert full["classify"]["properties"]["head"]["properties"]["dropout"]["exclusiveMaximum"] == 1
    assert full["classify"]["additionalProperties"] is False
    method = schema["method"]["oneOf"]
    assert [choice["const"] for choice in method if "const" in choice] == ["classify", "tag"]
    [nameless] = [choice for choice in method if choice.get("required") == []]
    assert nameless["properties"]["name"]["const"] == "classify"


class Rules(ComponentConfig):
    share: float = Option(0.5, "", gt=0, lt=1)
    count: Annotated[int, Field(ge=1, le=9)] | Literal["auto"] = Option("auto", "")
    seed: int = Option(0, "", ge=0, le=2**31 - 1)
    maybe: int | None = Option(None, "", ge=2)
    kind: Literal["a", "b"] = Option("a", "")
    exactly: Literal[3] = Option(3, "")
    flag: bool = Option(True, "")
    names: dict[str, int] = Option({}, "")
    some: list[str] = Option(["x"], "", min_length=1)
    match: str = Option("run:x", "", pattern="^run:", max_length=9)
    whatever: Any = Option(None, "")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("share", "a number > 0 and < 1"),
        ("count", "a whole number >= 1 and <= 9 or auto"),
        ("seed", "a whole number >= 0 and <= 2147483647"),
        ("maybe", "a whole number >= 2 or null"),
        ("kind", "one of a, b"),
        ("exactly", "3"),
        ("flag", "true or false"),
        ("names", "names, each with a whole number"),
        ("some", "at least 1 in a list, each text"),
        ("match", "text like `^run:` of at most 9 characters"),
        ("whatever", "any value"),
    ],
)
def test_rules_in_words(option: str, words: str) -> None:
    assert in_words(option_schema(Rules, option)) == words


def test_sections_and_families_in_words(root: Any) -> None:
    assert in_words(option_schema(root, "task")) == "one of auto, classify, rank, tag"
    assert in_words(option_schema(root, "method")) == "one of classify, rank, tag"
    assert in_words(option_schema(root, "data")) == "a path (as `path`) or the options path, columns, clean, test"


def test_the_reference_holds_every_option_with_its_rule(root: Any) -> None:
    page = reference(root)
    for path, option in options(root).items():
        *section, name = path.split(".")
        shown = ".".join([*(part for part in section if part not in ("classify", "rank", "tag")), name])
        assert f"| `{shown}` |" in page
        assert option.description
        assert option.description in page
    assert "| `train.lr` | `5e-05` | a number > 0 | Learning rate. |" in page
    assert "| `data.path` | required | a path | The file. |" in page
    assert '| `name` | `""` | text of at most 40 characters | Name of the run. |' in page
    assert "## `task: rank`" in page
    assert "A bare value fills `name`." in page


def test_options_are_listed_with_those_of_extensions(root: Any) -> None:
    assert {"train.lr", "task", "task.rank.depth", "task.classify.head.dropout", "method.rank.depth"} <= set(
        options(root)
    )


def test_extensions_by_family() -> None:
    page = extension_reference(["toy.task"])
    assert "## `toy.task`" in page
    assert "| `rank` | Put texts in order. |" in page
