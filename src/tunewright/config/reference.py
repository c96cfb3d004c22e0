"""The reference of every option as Markdown, generated from the declarations, for ``docs/reference.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from tunewright import extensions
from tunewright.config.base import ComponentConfig, config_of, family_of, section_of
from tunewright.config.schema import first_line, in_words, option_schema

_HEAD = """# Options

Every option of a recipe, by its path. Write it in the recipe (`train: {lr: 1e-5}`), on the command line
(`tunewright run recipe.yaml train.lr=1e-5`) or in the environment (`TUNEWRIGHT_TRAIN__LR=1e-5`).
This page is generated from the declarations in the code.
"""

_EXTENSIONS_HEAD = """# Extensions

The files of each family. A name is the name of a file; another file in the folder is another extension, and other
packages join by an entry point of the group `tunewright.FAMILY`. This page is generated from the code.
"""


def reference(root: type[ComponentConfig]) -> str:
    """The page: one table for each section, one for each extension with options of its own."""
    return "\n".join([_HEAD, *_section("Recipe", first_line(root), root, "")])


def extension_reference(families: Sequence[str]) -> str:
    """The page of all extensions: one table for each family, each with the first line of its docstring."""
    lines = [_EXTENSIONS_HEAD]
    for family in families:
        lines += [f"## `{family}`\n", "| name | what it is |\n|---|---|"]
        rows = ([f"`{name}`", first_line(extensions.load(family, name))] for name in extensions.names(family))
        lines += [*map(_table_row, rows), ""]
    return "\n".join(lines)


def options(root: type[ComponentConfig], section: str = "", *, named: bool = True) -> dict[str, FieldInfo]:
    """Every option by its path, those of extensions with the extension's name in it: ``task.classify.dropout``.

    Without ``named`` a path is what one types, ``task.dropout``; of extensions that share it, the last one's option is given.
    """
    found: dict[str, FieldInfo] = {}
    for name, field in root.model_fields.items():
        path = f"{section}{name}"
        found[path] = field
        if below := section_of(field):
            found |= options(below, f"{path}.", named=named)
        if family := family_of(field):
            for extension in extensions.names(family):
                inside = f"{path}.{extension}." if named else f"{path}."
                found |= options(config_of(family, extension), inside, named=named)
    return found


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
    return _table_row(cells)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(schema: dict[str, Any], is_required: bool) -> str:
    if is_required:
        return "required"
    default = schema.get("default")
    if isinstance(default, dict) and default:
        return ""
    return f"`{default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)}`"
