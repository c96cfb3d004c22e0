"""The prepared data: records, what became of them, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunewright.types.basic import Choice, Ints, Row

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "validation", "test")
"""The splits in the order in which their rows are numbered where all of them are laid end to end."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from: the file as the user wrote it and the 1-based line (or row) in it."""

    file: str
    line: int

    def __str__(self) -> str:
        """``file:line``, the form that editors and terminals turn into a link."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Record:
    """One input row: its number over all inputs (0-based), its fields as given, origin, and the unit it belongs to."""

    id: int
    fields: Row
    origin: Origin


class Outcome(StrEnum):
    """What became of an input row. Every row ends as exactly one of these."""

    USED = "used"
    TRUNCATED = "truncated"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The account of every input row (promise N6): the four outcomes are disjoint and sum to ``total``.

    ``used`` counts rows used whole. Before encoding, ``truncated`` is 0 and ``used`` holds every kept row.
    ``reasons`` counts the rejected rows by reason.
    """

    used: int
    truncated: int
    duplicate: int
    rejected: int
    total: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an account that does not add up."""
        assert self.used + self.truncated + self.duplicate + self.rejected == self.total, self

    def as_json(self) -> dict[str, object]:
        """The counts under their public names."""
        return {
            "used": self.used,
            "truncated": self.truncated,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "total": self.total,
            "reasons": dict(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check of the data found. ``warning`` is shown; ``violation`` stops the run unless overridden."""

    code: str
    severity: Literal["note", "warning", "violation"]
    message: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a task reads from each row. ``labels`` are those that need no training row, as the task itself has them.

    Texts and what messages hold are cleaned. Nothing is changed in a ``located`` text, into which offsets point, nor in
    ``spans``, the offsets (JSON once they are read), and ``words``, a list.
    """

    name: str
    kind: Literal["text", "label", "messages", "located", "spans", "words"]
    description: str
    required: bool = True
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What a sample of rows says about one column; tasks recognise their fields from these.

    Lengths are in characters. ``fraction_distinct`` is distinct / non-empty. ``examples`` holds a few values.
    """

    name: str
    position: int
    num_values: int
    num_distinct: int
    fraction_empty: float
    fraction_distinct: float
    mean_length: float
    max_length: int
    mean_words: float
    fraction_numeric: float
    fraction_integer: float
    is_list: bool
    is_sequential: bool
    examples: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recognition:
    """A guess which column fills which field, how sure it is (0..1), and why, per field."""

    columns: Mapping[str, str]
    confidence: float
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What later stages may ask about the kept rows without reading them again. Lengths in characters."""

    num_rows: int
    mean_characters: float
    p99_characters: int
    scripts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One input file as it was read."""

    path: str
    format: str
    encoding: str
    sha256: str
    num_bytes: int
    num_rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The prepared data: one memory-mapped Arrow table per split in ``folder``.

    Columns of every table: ``id`` int64, ``file`` string, ``line`` int32, and one column per task field (text fields are
    strings, label fields are lists of strings); where rows come in groups, the hash of the group as ``unit`` uint64.
    ``labels`` is the sorted label set over all splits.
    """

    folder: Path
    splits: Mapping[str, int]
    columns: Mapping[str, str]
    labels: tuple[str, ...]
    label_counts: Mapping[str, Mapping[str, int]]
    ledger: Ledger
    findings: tuple[Finding, ...]
    facts: Facts
    files: tuple[SourceFile, ...]
    choices: tuple[Choice, ...]
    fingerprint: str

    def table(self, split: str) -> pa.Table:
        """The rows of one split, memory-mapped, in input order."""
        return read_arrow(self.folder / f"{split}.arrow")

    @property
    def has_units(self) -> bool:
        """Whether rows come in groups that belong together."""
        return "unit" in self.table("train").column_names

    def units(self, split: str) -> Ints:
        """The unit[N] that each row of a split belongs to: the same number for the same unit, in every split."""
        units: Ints = self.table(split)["unit"].to_numpy().view("int64")
        return units


def read_arrow(path: Path) -> pa.Table:
    """The Arrow IPC file at ``path`` as a memory-mapped table."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
