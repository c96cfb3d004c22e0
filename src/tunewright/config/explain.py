"""From pydantic's errors to problems that a person can act on: where, given, allowed, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunewright.config.base import ComponentConfig, config_of, family_of, section_of
from tunewright.config.layers import Layers
from tunewright.config.read import Key, in_flow
from tunewright.config.reference import options
from tunewright.config.schema import example, in_words, option_schema
from tunewright.errors import InputError, Problem, nearest


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the configuration: the declaration that rules there, if any, and the names that stand beside it."""

    key: Key
    model: type[ComponentConfig] | None
    option: str
    names: tuple[str, ...]


def explain(layers: Layers, error: ValidationError) -> list[Problem]:
    """One problem for each place that pydantic refuses, in the order in which the values were given."""
    tree = layers.tree()
    at: dict[Key, tuple[_Place, list[ErrorDetails]]] = {}
    for detail in error.errors(include_url=False):
        place = _find(layers.root, tree, detail["loc"])
        at.setdefault(place.key, (place, []))[1].append(detail)
    rank = {origin: index for index, origin in enumerate(layers.origins.values())}
    found = [(layers.closest(place.key), _problem(layers.root, place, details)) for place, details in at.values()]
    found.sort(key=lambda pair: rank.get(pair[0], -1))
    return [replace(problem, where=origin.where or problem.where) for origin, problem in found]


def dotted(key: Key) -> str:
    """A place as it is typed: ``data.columns.text``, ``data.clean[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def _find(root: type[ComponentConfig], tree: object, location: tuple[int | str, ...]) -> _Place:
    """Follow pydantic's location through declarations and given values; its names of union members are stepped over."""
    model: type[ComponentConfig] | None = root
    place = _Place((), None, "", ())
    value: Any = tree
    for part in location:
        option = model.model_fields.get(str(part)) if model else None
        is_given = part in value if isinstance(value, Mapping) else isinstance(value, list) and isinstance(part, int)
        if option is None and not is_given:
            continue
        names = tuple(model.model_fields) if model else place.names
        value = value[part] if is_given else None
        owner, name = (model, str(part)) if model else (place.model, place.option)
        place = _Place((*place.key, part), owner, name, names)
        model = _below(option, value) if option else None
    return place


def _below(option: Any, value: object) -> type[ComponentConfig] | None:
    if not (family := family_of(option)):
        return section_of(option)
    name = value.get("name", option.default) if isinstance(value, Mapping) else option.default
    try:
        return config_of(family, str(name))
    except InputError:
        return None


def _problem(root: type[ComponentConfig], place: _Place, details: list[ErrorDetails]) -> Problem:
    """What is wrong at one place; a union of types gives several details, of which the most telling is used."""
    detail = max(details, key=lambda one: not one["type"].endswith(("_type", "_parsing")))
    kind, path, context = detail["type"], dotted(place.key), detail.get("ctx", {})
    given = _shown(detail["input"])
    if kind == "extra_forbidden":
        ends: dict[str, str] = {}
        for known in (*(dotted((*place.key[:-1], name)) for name in place.names), *options(root, named=False)):
            ends.setdefault(known.rpartition(".")[2], known)
        near = nearest(str(place.key[-1]), ends)
        hint = f"did you mean {ends[near]}?" if near else "remove it"
        return Problem(path, f"there is no option `{path}`", place.key[-1], ", ".join(sorted(place.names)), hint)
    if kind == "explained":
        hint = context["hint"] or f"{path}={context['allowed'].partition(', ')[0]}"
        return Problem(path, f"`{path}`: {detail['msg']}", context.get("given", given), context["allowed"], hint)
    rule = option_schema(place.model, place.option) if place.model and place.option in place.model.model_fields else {}
    allowed = in_words(rule) if rule else ""
    if kind == "missing":
        return Problem(path, f"`{path}` is required", None, allowed, f"add {path}: {rule.get('description', '')}")
    if kind == "value_error":
        given = None if isinstance(detail["input"], Mapping) else given
        return Problem(path, f"`{path or 'recipe'}`: {context['error']}", given, allowed, _typed(place, rule))
    return Problem(path, f"`{path}` {_verdict(kind, detail['msg'])}", given, allowed, _hint(place, kind, given, rule))


def _verdict(kind: str, message: str) -> str:
    if kind.startswith(("greater_than", "less_than", "multiple_of", "finite")):
        return "is out of range"
    if kind in ("literal_error", "enum"):
        return "is not one of the choices"
    if kind.endswith(("_type", "_parsing", "_from_float")):
        return "is of the wrong kind"
    return f"is refused: {message[:1].lower()}{message[1:]}"


def _hint(place: _Place, kind: str, given: object, rule: Mapping[str, Any]) -> str:
    if kind in ("literal_error", "enum") and (near := nearest(str(given), _choices(rule))):
        return f"did you mean {near}?"
    if kind == "string_type" and not isinstance(given, list | dict):
        return f'put it in quotes: "{given}"'
    return _typed(place, rule)


def _typed(place: _Place, rule: Mapping[str, Any]) -> str:
    """What to type instead: the option with its default, or with a value that it allows."""
    names = place.key[: place.key.index(place.option) + 1] if place.option in place.key else place.key
    for name, inner in rule.get("properties", {}).items():
        return _typed(_Place((*names, name), None, name, ()), inner)
    default = rule.get("default")
    is_shown = default not in (None, "") and not isinstance(default, dict | list)
    value = shlex.quote(in_flow(default if is_shown else example(dict(rule))))
    return f"{dotted(names)}={value}{' (the default)' if is_shown else ''}"


def _choices(rule: Mapping[str, Any]) -> list[str]:
    members = [rule, *rule.get("anyOf", [])]
    return [str(value) for member in members for value in member.get("enum", [member.get("const", "")])]


def _shown(value: object) -> object:
    """A value as YAML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else value
