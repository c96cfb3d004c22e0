"""The JSON Schema of a recipe, so that editors complete it, and each option's rule in words.

# yaml-language-server: $schema=recipe.schema.json
version: 1
task: classify
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tunewright import extensions
from tunewright.config.base import AUTO, FAMILY, SHORTHAND, VERSION, ComponentConfig, config_of

Schema = dict[str, Any]


def recipe_schema(root: type[ComponentConfig]) -> Schema:
    """The JSON Schema (draft 2020-12) of recipe files whose options are declared by ``root``.

    Every option has its description, default and limits; an extension is one of the bare names, or one of the mappings
    of name and options.
    """
    schema = _section(root)
    version = {"const": VERSION, "description": "The version of the recipe format."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": {"version": version, **schema["properties"]},
        "required": ["version", *schema.get("required", [])],
    }


@cache
def option_schema(model: type[ComponentConfig], name: str) -> Schema:
    """The JSON Schema of one option, with every reference written out; extensions are left as their family."""
    return _plain(model)["properties"][name]  # type: ignore[no-any-return]


def in_words(schema: Schema) -> str:
    """What a schema allows, as words: `a number > 0 and < 0.5`, `one of adamw, sgd`, `a whole number or null`."""
    if FAMILY in schema:
        auto = [AUTO] if schema.get("default") == AUTO else []
        return _one_of([*auto, *extensions.names(schema[FAMILY])])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(in_words({**_limits(schema), **member}) for member in schema[key]))
    if "const" in schema or "enum" in schema:
        return _one_of(schema.get("enum", [schema.get("const")]))
    words = _WORDS.get(schema.get("type", ""))
    return words(schema) if words else "any value"


def example(schema: Schema) -> object:
    """A value that a schema allows, for a message to show."""
    members = [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]
    for member in members:
        if found := member.get("examples") or member.get("enum"):
            return found[0]
    kind = next((member["type"] for member in members if "type" in member), "")
    simple = {"integer": 1, "number": 0.5, "boolean": True}
    if kind == "array":
        return [example(schema.get("items", {}))]
    return {"NAME": "TEXT"} if kind == "object" else simple.get(kind, "TEXT")


def _section(model: type[ComponentConfig]) -> Schema:
    schema = {key: value for key, value in _plain(model).items() if key != SHORTHAND}
    return _fill(schema)  # type: ignore[no-any-return]


@cache
def _plain(model: type[ComponentConfig]) -> Schema:
    schema = model.model_json_schema()
    return _inline(schema, schema.pop("$defs", {}))  # type: ignore[no-any-return]


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with each reference replaced by what it refers to (configurations never contain themselves)."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if key != "title" or not isinstance(value, str)}
    reference = node.pop("$ref", "")
    target = _inline(definitions[reference.rpartition("/")[2]], definitions) if reference else {}
    return {**target, **{key: _inline(value, definitions) for key, value in node.items()}}


def _fill(node: Any) -> Any:
    """The schema with every family replaced by its extensions, and bare values allowed where a section takes one."""
    if isinstance(node, list):
        return [_fill(item) for item in node]
    if not isinstance(node, dict):
        return node
    if FAMILY in node:
        rest = {key: value for key, value in node.items() if key != FAMILY}
        return {**rest, "oneOf": list(_choices(node[FAMILY], node.get("default", "")))}
    filled = {key: _fill(value) for key, value in node.items() if key != SHORTHAND}
    if bare := node.get(SHORTHAND, ""):
        outer = {key: filled.pop(key) for key in ("description", "default") if key in filled}
        return {**outer, "anyOf": [filled["properties"][bare], filled]}
    return filled


def _choices(family: str, default: str) -> list[Schema]:
    bare: list[Schema] = [{"const": AUTO, "description": "Chosen for you, with the reason."}] if default == AUTO else []
    full: list[Schema] = []
    for name in extensions.names(family):
        summary = first_line(extensions.load(family, name))
        options = _section(config_of(family, name))
        required = options.get("required", [])
        if not required:
            bare.append({"const": name, "description": summary})
        named = {"name": {"const": name, "description": summary}, **options.get("properties", {})}
        needs = required if name == default else ["name", *required]
        full.append({**options, "description": summary, "properties": named, "required": needs})
    return [*bare, *full]


def first_line(thing: object) -> str:
    """The first line of a docstring, as the one-line help of what it describes."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _one_of(values: list[Any]) -> str:
    words = ["true" if v is True else "false" if v is False else "null" if v is None else str(v) for v in values]
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _limits(schema: Schema) -> Schema:
    return {key: schema[key] for key in _SIGNS if key in schema}


def _number(noun: str, schema: Schema) -> str:
    limits = [f"{sign} {schema[key]}" for key, sign in _SIGNS.items() if key in schema]
    return f"{noun} {' and '.join(limits)}".strip()


def _text(schema: Schema) -> str:
    words = ["a path" if schema.get("format") == "path" else "text"]
    words += [f"like `{schema['pattern']}`"] if "pattern" in schema else []
    words += [f"of at least {schema['minLength']} characters"] if "minLength" in schema else []
    words += [f"of at most {schema['maxLength']} characters"] if "maxLength" in schema else []
    return " ".join(words)


def _list(schema: Schema) -> str:
    least = f"at least {schema['minItems']} in " if schema.get("minItems") else ""
    return f"{least}a list, each {in_words(schema.get('items', {}))}"


def _mapping(schema: Schema) -> str:
    if "properties" in schema:
        options = f"the options {', '.join(schema['properties'])}"
        bare = schema.get(SHORTHAND, "")
        return f"{in_words(schema['properties'][bare])} (as `{bare}`) or {options}" if bare else options
    values = schema.get("additionalProperties")
    return f"names, each with {in_words(values) if isinstance(values, dict) else 'any value'}"


_SIGNS = {
    "exclusiveMinimum": ">",
    "minimum": ">=",
    "exclusiveMaximum": "<",
    "maximum": "<=",
    "multipleOf": "in steps of",
}

_WORDS: dict[str, Callable[[Schema], str]] = {
    "integer": lambda schema: _number("a whole number", schema),
    "number": lambda schema: _number("a number", schema),
    "boolean": lambda _: "true or false",
    "string": _text,
    "null": lambda _: "null",
    "array": _list,
    "object": _mapping,
}
