"""The seam of the cleaners, and the chain that prepare applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from tunewright import extensions
from tunewright.errors import InputError

FAMILY = "data.clean"
STANDARD = ("unicode", "control", "trim")
"""What is applied to every text, after the cleaners that the user names."""

CONTENT = frozenset(("content", "value", "text"))
"""Keys under which a message holds what was said."""


class Cleaner(Protocol):
    """A cleaner (``data/clean/*.py``)."""

    def apply(self, text: str) -> str:
        """The text, cleaned; ValueError rejects the row with a reason."""
        ...


class Chain:
    """Cleaners one after the other."""

    def __init__(self, cleaners: Sequence[Cleaner]) -> None:
        """Apply ``cleaners`` in this order."""
        self._steps = [cleaner.apply for cleaner in cleaners]

    def apply(self, text: str) -> str:
        """The text after every cleaner; ValueError rejects the row with a reason."""
        for step in self._steps:
            text = step(text)
        return text

    def apply_within(self, value: object) -> object:
        """A text cleaned; in messages, the texts that they hold. ValueError rejects the row with a reason."""
        if isinstance(value, str):
            return self.apply(value)
        if isinstance(value, list):
            return [self.apply_within(entry) for entry in value]
        if isinstance(value, Mapping):
            return {key: self.apply_within(entry) if key in CONTENT else entry for key, entry in value.items()}
        return value


def build_chain(wanted: Sequence[str | Mapping[str, Any]]) -> Chain:
    """The cleaners named in ``data.clean``, then the standard ones that are not among them.

    Each is a name, or a mapping with ``name`` and options. Raises InputError for one that does not exist.
    """
    given = [{"name": entry} if isinstance(entry, str) else dict(entry) for entry in wanted]
    names = [str(entry.get("name", "")) for entry in given]
    standard = [{"name": name} for name in STANDARD if name not in names]
    return Chain([_build(entry) for entry in (*given, *standard)])


def _build(entry: Mapping[str, Any]) -> Cleaner:
    name = str(entry.get("name", ""))
    found: Any = extensions.load(FAMILY, name)
    options = {key: value for key, value in entry.items() if key != "name"}
    try:
        cleaner: Cleaner = found(found.Config(**options))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            str(first["msg"]),
            where=f"data.clean.{name}.{'.'.join(map(str, first['loc']))}",
            given=first.get("input"),
            allowed=", ".join(found.Config.model_fields) or "no options",
            hint=f"data.clean='[{name}]'",
        ) from None
    return cleaner
