"""The reference of every option as Markdown, generated from the declarations, for ``docs/reference.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tunewright import extensions
from tunewright.config.base import ComponentConfig, config_of, family_of, section_of
from tunewright.config.schema import first_line, in_words, option_schema

_HEAD = """# Options

Every option of a recipe, by its path. Write it in the recipe (`train: {lr: 1e-5}`), on the command line
(`--set train.lr=1e-5`) or in the environment (`TUNEWRIGHT_TRAIN__LR=1e-5`).
This page is generated from the declarations in the code.
"""


def reference(root: type[ComponentConfig]) -> str:
    """The page: one table for each section, one for each extension with options of its own."""
    return "\n".join([_HEAD, *_section("Recipe", first_line(root), root, "")])


def paths(root: type[ComponentConfig]) -> tuple[str, ...]:
    """The path of every option, extensions' options included (``task.classify.max_length``)."""
    return tuple(_paths(root, ""))


def _paths(model: type[ComponentConfig], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        if section := section_of(field):
            yield from _paths(section, f"{path}{name}.")
        if family := family_of(field):
            for extension in extensions.names(family):
                yield from _paths(config_of(family, extension), f"{path}{name}.{extension}.")


def _section(title: str, summary: str, model: type[ComponentConfig], path: str) -> Iterator[str]:
    yield f"## {title}\n"
    if summary:
        yield f"{summary}\n"
    if model.shorthand:
        yield f"A bare value fills `{model.shorthand}`.\n"
    if model.model_fields:
        yield "| option | default | allowed | meaning |\n|---|---|---|---|"
        yield from (_row(model, name, path) for name in model.model_fields)
        yield ""
    for name, field in model.model_fields.items():
        place = f"{path}{name}"
        if section := section_of(field):
            yield from _section(f"`{place}`", first_line(section), section, f"{place}.")
        if family := family_of(field):
            for extension in extensions.names(family):
                summary = first_line(extensions.load(family, extension))
                yield from _section(f"`{place}: {extension}`", summary, config_of(family, extension), f"{place}.")


def _row(model: type[ComponentConfig], name: str, path: str) -> str:
    schema = option_schema(model, name)
    field = model.model_fields[name]
    allowed = "the options below" if section_of(field) else in_words(schema)
    cells = [f"`{path}{name}`", _default(schema, field.is_required()), allowed, field.description or ""]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(schema: dict[str, Any], is_required: bool) -> str:
    if is_required:
        return "required"
    default = schema.get("default")
    if isinstance(default, dict) and default:
        return ""
    return f"`{default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)}`"
