"""From a recipe file, the environment and the command line to one validated configuration that knows its origins.

    recipe        train: {lr: 1e-5}                in a file that begins with `version: 1`
    environment   TUNEWRIGHT_TRAIN__LR=1e-5        two underscores between the levels
    argument      train={"lr": 1e-5}               from Python
    override      train.lr=1e-5                    on the command line

Later lines win. Values are read by the rules of YAML 1.2 everywhere. Every problem is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from tunewright.config.base import VERSION, ComponentConfig
from tunewright.config.explain import dotted, explain
from tunewright.config.layers import Layers, Origin
from tunewright.config.read import Key, read_file, read_yaml
from tunewright.errors import Problem, RecipeError
from tunewright.types import Choice

PREFIX = "TUNEWRIGHT_"
NO_OPTIONS = frozenset({"TUNEWRIGHT_HOME", "TUNEWRIGHT_SHARED_DATA"})
"""Variables of the environment that are read elsewhere and set no option."""

FIRST_LINE = f"begin the file with the line `version: {VERSION}`"

Root = TypeVar("Root", bound=ComponentConfig)


@dataclass(frozen=True)
class Loaded(Generic[Root]):
    """A validated configuration and the origin of every value in it, by its dotted path."""

    config: Root
    origins: Mapping[str, Origin]
    layers: Layers


def load(
    root: type[Root],
    *,
    path: Path | None = None,
    values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Loaded[Root]:
    """Validate what the recipe at ``path``, the environment, Python arguments and overrides say together.

    Raises RecipeError with every problem, each with its file:line, variable or override.
    """
    problems: list[Problem] = []
    layers = Layers(root)
    if path is not None:
        layers = lay_recipe(layers, read_file(path), str(path), problems)
    for name, text in sorted((environment or {}).items()):
        if name.startswith(PREFIX) and name not in NO_OPTIONS:
            key = tuple(name.removeprefix(PREFIX).lower().split("__"))
            layers = _lay_text(layers, key, text, Origin("environment", name), problems)
    for name, value in (values or {}).items():
        layers = layers.put((name,), value, Origin("argument", f"argument {name}"))
    for override in overrides:
        layers = _lay_override(layers, override, problems)
    return validate(root, layers, problems)


def with_automatic(loaded: Loaded[Root], choices: Sequence[Choice]) -> Loaded[Root]:
    """The configuration with the chosen values filled in, validated again; each has its reason as origin."""
    layers = loaded.layers
    for choice in choices:
        layers = layers.put(tuple(choice.path.split(".")), choice.value, Origin("automatic", choice.reason))
    return validate(type(loaded.config), layers, [])


def with_recorded(loaded: Loaded[Root], origins: Mapping[str, str]) -> Loaded[Root]:
    """The configuration of a filled recipe with the ``origins`` recorded beside it: what is given anew keeps its own."""
    layers = loaded.layers
    marks = {
        key: Origin.recorded(origins[dotted(key)])
        for key in flatten(loaded.config.model_dump(mode="json"))
        if dotted(key) in origins and layers.closest(key).kind == "recipe"
    }
    return validate(type(loaded.config), replace(layers, origins={**layers.origins, **marks}), [])


def lay_recipe(layers: Layers, text: str, file: str, problems: list[Problem]) -> Layers:
    """The layers with a recipe's text on top; what is wrong with it as a document is added to ``problems``."""
    document = read_yaml(text, lambda line: f"{file}:{line}")
    problems += document.problems
    marks = {key: Origin("recipe", f"{file}:{line}") for key, line in document.lines.items()}
    tree = document.value
    if not isinstance(tree, dict):
        given = None if tree is None else tree
        problem = "the recipe is empty" if tree is None else "a recipe is a mapping of options"
        raise RecipeError([Problem(f"{file}:1", problem, given, "`option: value` lines", FIRST_LINE)])
    version = tree.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        where = marks.get(("version",), marks[()]).where
        problem = "the recipe names no version" if version is None else "this version of the format is not known"
        problems.append(Problem(where, problem, version, f"version: {VERSION}", FIRST_LINE))
    return layers.lay(tree, marks)


def validate(root: type[Root], layers: Layers, problems: Sequence[Problem]) -> Loaded[Root]:
    """The validated configuration. Raises RecipeError if there are problems already or new ones are found."""
    try:
        config = root.model_validate(layers.tree())
    except ValidationError as error:
        raise RecipeError(_in_file_order([*problems, *explain(layers, error)])) from None
    if problems:
        raise RecipeError(_in_file_order(problems))
    leaves = flatten(config.model_dump(mode="json"))
    return Loaded(config, {dotted(key): layers.origin(key) for key in leaves}, layers)


def flatten(tree: Mapping[str, Any], section: Key = ()) -> dict[Key, Any]:
    """The leaves of nested mappings by place; a list is one leaf, and so is an empty mapping."""
    leaves: dict[Key, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping) and value
        leaves |= flatten(value, (*section, name)) if nested else {(*section, name): value}
    return leaves


def _lay_override(layers: Layers, override: str, problems: list[Problem]) -> Layers:
    path, is_assigned, text = override.partition("=")
    path = path.strip()
    if not is_assigned or not all(path.split(".")):
        hint = f"{path or 'train.lr'}=VALUE"
        problems.append(
            Problem("override", "an override sets one option", override, "key=value, as in train.lr=1e-5", hint)
        )
        return layers
    return _lay_text(layers, tuple(path.split(".")), text, Origin("override", f"override {path}"), problems)


def _lay_text(layers: Layers, key: Key, text: str, origin: Origin, problems: list[Problem]) -> Layers:
    try:
        document = read_yaml(text, lambda _: origin.where)
    except RecipeError as error:
        problems += error.problems
        return layers
    problems += document.problems
    return layers.put(key, document.value, origin)


def _in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    """By line within the file; what stands elsewhere keeps its order and comes after."""

    def line(problem: Problem) -> tuple[bool, int]:
        number = problem.where.rpartition(":")[2]
        return not number.isdecimal(), int(number) if number.isdecimal() else 0

    return sorted(problems, key=line)
