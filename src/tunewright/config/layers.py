"""Values laid one over another, each with its origin: a recipe, the environment, Python arguments, overrides.

    default  <  recipe  <  environment  <  argument  <  override  <  automatic

A mapping adds to a mapping; anything else replaces what lies below. Naming another extension drops the options that
were given to the one it replaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tunewright.config.base import ComponentConfig, Extension, config_of, family_of, section_of
from tunewright.config.read import Key
from tunewright.errors import InputError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from; ``where`` is a file:line, a variable, an override, or the reason of a choice."""

    kind: Literal["default", "recipe", "environment", "argument", "override", "automatic"]
    where: str = ""

    def __str__(self) -> str:
        """`default`, `automatic: REASON`, or simply the place where the value stands."""
        return f"automatic: {self.where}" if self.kind == "automatic" else self.where or self.kind

    @classmethod
    def recorded(cls, text: str) -> Origin:
        """The origin that was written down as ``text``."""
        word = text.partition(" ")[0].rstrip(":")
        if word == "automatic":
            return cls("automatic", text.removeprefix("automatic: "))
        kinds: Mapping[str, Any] = {"default": "default", "argument": "argument", "override": "override"}
        return cls(kinds.get(word, "environment" if word.isupper() else "recipe"), "" if text == "default" else text)


DEFAULT = Origin("default")


@dataclass(frozen=True)
class Layers:
    """The values given so far, by place, and where each was given; ``root`` declares what places there are."""

    root: type[ComponentConfig]
    values: Mapping[Key, Any] = field(default_factory=dict)
    origins: Mapping[Key, Origin] = field(default_factory=dict)

    def lay(self, tree: object, origins: Mapping[Key, Origin]) -> Layers:
        """These layers with ``tree`` on top; ``origins`` says where its parts were given."""
        values, places = dict(self.values), dict(self.origins)
        for key, value, chooses in _leaves(self.root, tree, (), self.values):
            if value == {} and any(_is_within(other, key) for other in values):
                continue
            stale = key[:-1] if chooses and values.get(key, value) != value else key
            values = {other: kept for other, kept in values.items() if not _overlaps(other, stale)}
            places = {other: kept for other, kept in places.items() if not _is_within(other, key)}
            values[key] = value
        return replace(self, values=values, origins={**places, **origins})

    def put(self, key: Key, value: object, origin: Origin) -> Layers:
        """These layers with one value on top."""
        tree = value
        for part in reversed(key):
            tree = {part: tree}
        return self.lay(tree, {key: origin})

    def tree(self) -> dict[str, Any]:
        """The values as nested mappings."""
        tree: dict[Any, Any] = {}
        for key, value in self.values.items():
            place = tree
            for part in key[:-1]:
                place = place.setdefault(part, {})
            place[key[-1]] = value
        return tree

    def origin(self, key: Key) -> Origin:
        """Where the value at ``key`` was given, or ``default`` if nothing was given there."""
        return self.closest(key) if any(_overlaps(key, other) for other in self.values) else DEFAULT

    def closest(self, key: Key) -> Origin:
        """Where ``key`` was given, else the section around it."""
        around = (key[:length] for length in range(len(key), -1, -1))
        return next((self.origins[place] for place in around if place in self.origins), DEFAULT)


def _leaves(
    model: type[ComponentConfig] | None, tree: Any, key: Key, below: Mapping[Key, Any]
) -> Iterator[tuple[Key, Any, bool]]:
    """Every leaf of ``tree``, bare values written out, and whether it is the name that chooses an extension."""
    if isinstance(tree, ComponentConfig):
        tree = tree.model_dump(exclude_unset=True)
    tree = model.spread(tree) if model else tree
    if not isinstance(tree, Mapping) or (key and not tree):
        yield key, tree, False
        return
    for name, value in tree.items():
        option = model.model_fields.get(name) if model else None
        section = section_of(option) if option else None
        if option and (family := family_of(option)):
            yield from _extension_leaves(family, option.default, value, (*key, name), below)
        else:
            is_empty_section = value is None and section and option and section is option.annotation
            yield from _leaves(section, {} if is_empty_section else value, (*key, name), below)


def _extension_leaves(
    family: str, default: str, tree: Any, key: Key, below: Mapping[Key, Any]
) -> Iterator[tuple[Key, Any, bool]]:
    given = tree.as_json() if isinstance(tree, Extension) else tree
    options = dict(given) if isinstance(given, Mapping) else {} if given is None else {"name": given}
    if "name" in options:
        yield (*key, "name"), options["name"], True
    name = options.pop("name", below.get((*key, "name"), default))
    if options:
        yield from _leaves(_options(family, name), options, key, below)


def _options(family: str, name: object) -> type[ComponentConfig] | None:
    try:
        return config_of(family, str(name))
    except InputError:
        return None


def _is_within(key: Key, section: Key) -> bool:
    return key[: len(section)] == section


def _overlaps(key: Key, other: Key) -> bool:
    return _is_within(key, other) or _is_within(other, key)
