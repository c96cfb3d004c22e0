"""YAML by the rules of version 1.2, with the line of every key: `1e-5` is a number and `no` is text.

Only plain data is read: no tags, no types of other languages, and aliases count with all that they repeat.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.errors import Problem, RecipeError, nearest

MAX_BYTES = 65_536
MAX_VALUES = 10_000
MAX_DEPTH = 20

Key = tuple[str | int, ...]
"""A place in a document: keys of mappings and positions in lists, outermost first."""

_PLAIN_TEXT = re.compile(r"[^\W\d_](?:[\w./ -]*[\w./-])?")
_READ_AS_OTHER = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})

_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
_TEXT = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "value"))


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says: mappings, lists and scalars; the 1-based line of every key and item; what is wrong."""

    value: object
    lines: Mapping[Key, int]
    problems: tuple[Problem, ...] = ()


def read_file(path: Path) -> str:
    """The text of a recipe. Raises RecipeError where it cannot be read as UTF-8 text of reasonable size."""
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        beside = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        hint = f"did you mean {path.parent / near}?" if near else f"tunewright init reviews.csv -o {path}"
        raise _refusal(where, "there is no such recipe", path.name, "a YAML file", hint) from None
    except OSError as error:
        raise _refusal(where, "the recipe cannot be read", error.strerror, "a YAML file", f"ls -l {path}") from None
    if len(content) > MAX_BYTES:
        size, limit = f"{path.stat().st_size:,} bytes", f"at most {MAX_BYTES:,} bytes"
        raise _refusal(
            where, "the file is too large for a recipe", size, limit, "if it is your data, name it in a recipe"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"the byte 0x{content[error.start]:02x}"
        raise _refusal(
            f"{where}:{line}", "the recipe is not UTF-8 text", byte, "UTF-8", "save the file as UTF-8"
        ) from None


def read_yaml(text: str, where: Callable[[int], str]) -> Document:
    """Read one YAML document; ``where`` renders a 1-based line. Raises RecipeError where it cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings(action="ignore"):  # an anchor may be used again
            root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _not_yaml(where(mark.line + 1 if mark else 1), error.problem or error.context, text) from None
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _not_yaml(where(line), str(error).splitlines()[0], text) from None
    except RecursionError:
        raise _too_much(where(1)) from None
    return _Walk(yaml.constructor, where).document(root)


def in_flow(value: object) -> str:
    """A value on one line. JSON is YAML, and text that cannot be taken for anything else needs no quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_flow, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{in_flow(name)}: {in_flow(item)}' for name, item in value.items())}}}"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN_TEXT.fullmatch(value) and value.isprintable() and value.lower() not in _READ_AS_OTHER:
        return value
    return re.sub(r"[^\n -~]", _escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


class _Walk:
    """One pass over the composed nodes: builds plain values, notes lines, gathers problems."""

    def __init__(self, constructor: Any, where: Callable[[int], str]) -> None:
        self.constructor = constructor
        self.where = where
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []

    def document(self, root: Any) -> Document:
        value = None if root is None else self.value(root, (), root.start_mark.line + 1)
        return Document(value, self.lines, tuple(self.problems))

    def value(self, node: Any, key: Key, line: int) -> object:
        self.lines[key] = line
        if len(self.lines) > MAX_VALUES or len(key) > MAX_DEPTH:
            raise _too_much(self.where(line))
        if node.id == "mapping" and node.tag.endswith(":map"):
            return {name: self.value(child, (*key, name), at) for name, child, at in self.entries(node)}
        if node.id == "sequence" and node.tag.endswith(":seq"):
            items = enumerate(node.value)
            return [self.value(child, (*key, index), child.start_mark.line + 1) for index, child in items]
        if node.id == "scalar" and node.tag in _TEXT:
            return str(node.value)
        if node.id == "scalar" and node.tag in _PLAIN:
            return self.scalar(node, line)
        self.problems.append(
            Problem(
                self.where(line), "tags are not used in recipes", str(node.tag), "plain YAML values", "leave it out"
            )
        )
        return None

    def entries(self, node: Any) -> Iterator[tuple[str, Any, int]]:
        first: dict[str, int] = {}
        for name, child in node.value:
            line = name.start_mark.line + 1
            if name.id != "scalar":
                self.problems.append(
                    Problem(self.where(line), "a key must be a name", "a list or mapping", "a name", "name: value")
                )
            elif name.value in first:
                hint = f"keep one of them (the first is on line {first[name.value]})"
                self.problems.append(
                    Problem(self.where(line), "the same key is given twice", name.value, "each key once", hint)
                )
            else:
                first[name.value] = line
                yield name.value, child, line

    def scalar(self, node: Any, line: int) -> object:
        try:
            return self.constructor.construct_object(node)
        except (ValueError, LookupError):  # such as 5,000 digits, or `!!int` before nothing
            self.problems.append(
                Problem(
                    self.where(line), "the value cannot be read", node.value, "a value of its kind", "put it in quotes"
                )
            )
            return None


def _not_yaml(where: str, reason: str | None, text: str) -> RecipeError:
    if "\\t" in (reason or ""):
        hint = "indent with spaces, not with tabs"
    elif "control" in (reason or "") or "special characters" in (reason or ""):
        hint = "remove the unprintable characters"
    else:
        hint = "put text with special characters in quotes, a space after each colon"
    line = where.rpartition(":")[2]
    lines = text.splitlines()
    given = lines[int(line) - 1] if line.isdecimal() and 0 < int(line) <= len(lines) else None
    return _refusal(where, f"this is not YAML: {reason}", given, "`key: value` lines", hint)


def _too_much(where: str) -> RecipeError:
    allowed = f"at most {MAX_VALUES:,} values, {MAX_DEPTH} levels deep, repeats by aliases included"
    return _refusal(where, "there is too much in it", None, allowed, "write it without aliases")


def _refusal(where: str, problem: str, given: object, allowed: str, hint: str = "") -> RecipeError:
    return RecipeError([Problem(where, problem, given, allowed, hint)])
