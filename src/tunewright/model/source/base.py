"""The seam of the model sources (``model/source/*.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tunewright.types import Tell, tell_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of a model before it is fetched. ``download_bytes`` is 0 where it is here already, None if unknown."""

    title: str
    licence: str
    terms: str = ""
    notes: tuple[str, ...] = ()
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A model asked for: its name as the user wrote it, whether its terms are accepted, and the folder that holds runs."""

    name: str
    accept_terms: bool = False
    runs: Path | None = None
    tell: Tell = tell_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model on this machine: a transformers folder, where it came from, and what to know about it.

    ``licence`` is "" where the source does not know it; the folder may then say. ``verified`` holds the SHA-256 of files that
    were checked a moment ago, so that they need not be read again.
    """

    folder: Path
    source: str
    licence: str = ""
    notes: tuple[str, ...] = ()
    verified: Mapping[str, str] = field(default_factory=dict)


class ModelSource(Protocol):
    """A form in which a model can be named, and the way to it."""

    def recognise(self, name: str) -> float:
        """How sure (0..1) this source is that ``name`` is meant for it; looks at the disk at most, never at a network."""
        ...

    def describe(self, name: str) -> Description:
        """What can be said without fetching. Raises InputError for a name that cannot be right."""
        ...

    def fetch(self, order: Order) -> Fetched:
        """The model's folder, fetched and converted first where needed.

        Raises InputError for a name or files that cannot be used, MachineError when the source cannot be reached; both
        say what to do instead.
        """
        ...
