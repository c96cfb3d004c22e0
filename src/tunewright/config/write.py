"""The filled configuration as text: every value with its origin, nothing left to defaults.

version: 1
task:
  name: classify        # automatic: the column `label` holds 2 values
train:
  lr: 3e-05             # reviews.yaml:4
  epochs: 3             # default
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunewright.config.base import VERSION, ComponentConfig
from tunewright.config.explain import dotted
from tunewright.config.layers import Layers
from tunewright.config.load import Loaded, lay_recipe, validate
from tunewright.config.read import Key, in_flow
from tunewright.errors import Problem

MAX_WIDTH = 60
"""Comments are lined up behind values up to this many characters; longer lines have theirs where they end."""


def to_yaml(loaded: Loaded[Any]) -> str:
    """The configuration as a recipe, each value with its origin as a comment. It is read back before it is returned."""
    lines = list(_lines(loaded.config.model_dump(mode="json"), loaded, ()))
    width = max((len(line) for line, _ in lines if len(line) <= MAX_WIDTH), default=0)
    body = [f"{line:<{width}}  # {origin}" if origin else line for line, origin in lines]
    text = "\n".join([f"version: {VERSION}", *body, ""])
    assert read_back(type(loaded.config), text) == loaded.config, "the written configuration reads back differently"
    return text


def to_json(loaded: Loaded[Any]) -> dict[str, object]:
    """The configuration as JSON: ``values`` as nested objects, and ``origins`` by dotted path."""
    values = {"version": VERSION, **loaded.config.model_dump(mode="json")}
    return {"values": values, "origins": {path: str(origin) for path, origin in loaded.origins.items()}}


def read_back(root: type[ComponentConfig], text: str) -> ComponentConfig:
    """The configuration that a recipe's text holds by itself."""
    problems: list[Problem] = []
    return validate(root, lay_recipe(Layers(root), text, "recipe", problems), problems).config


def _lines(tree: Mapping[str, Any], loaded: Loaded[Any], section: Key) -> Iterator[tuple[str, str]]:
    indent = "  " * len(section)
    for name, value in tree.items():
        key = (*section, name)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{in_flow(name)}:", ""
            yield from _lines(value, loaded, key)
        else:
            yield f"{indent}{in_flow(name)}: {in_flow(value)}", " ".join(str(loaded.origins[dotted(key)]).split())
