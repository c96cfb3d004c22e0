"""What every source shares: its options, how it describes a file, and the row that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tunewright.config.base import ComponentConfig, Option
from tunewright.types import Record


@dataclass(frozen=True, slots=True)
class Unusable(Record):
    """A row that is there but cannot be used, such as one over ``max_row_bytes``; ``reason`` goes into the ledger."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is laid out: encoding, delimiter, header, and its columns where they are known before reading.

    ``delimiter`` is empty and ``has_header`` is None for formats that have neither.
    """

    encoding: str
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    has_header: bool | None = None
    notes: tuple[str, ...] = ()


class SourceConfig(ComponentConfig):
    """The options that every source has."""

    encoding: str = Option("auto", "Encoding of the file; recognised when it is `auto`.")
    max_row_bytes: int = Option(1 << 20, "A row with more bytes is rejected, not read into memory.", ge=64)


class BaseSource:
    """A source with options. One instance reads one file; ``notes`` grows with what reading shows."""

    Config: ClassVar[type[SourceConfig]] = SourceConfig

    def __init__(self, config: SourceConfig | None = None) -> None:
        """Hold the options; the defaults serve when none are given."""
        self.config = config if config is not None else self.Config()
        self.notes: list[str] = []

    def layout(self, path: Path) -> Layout:
        """How the file is laid out. Raises InputError when it is not a file of this format."""
        raise NotImplementedError

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order, Unusable ones included. Raises InputError where the file cannot be parsed."""
        raise NotImplementedError


def first_text(head: bytes) -> str:
    """The first bytes as text, roughly: good enough to see what kind of file this is, never an error."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", errors="replace")
    elif head[:64].count(0) > 8:
        text = head.decode("utf-16-be" if head[0] == 0 else "utf-16-le", errors="replace")
    else:
        text = head.decode("utf-8-sig", errors="replace")
    return text.lstrip()
