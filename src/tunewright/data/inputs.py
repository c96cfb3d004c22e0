"""All that a run reads: the files of each role, or handed rows, gone through once to see columns and count rows.

config.data, rows ─▶ look ─▶ Inputs: files hashed and opened, columns profiled ─▶ the task is chosen, the key is made, prepare
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tunewright.data.files import OpenedFile, as_names, empty, find_input, open_input
from tunewright.data.handed import NAME, HandedRows
from tunewright.data.profile import Sample, flatten
from tunewright.data.splits import OPEN, TEST, VALIDATION
from tunewright.errors import InputError
from tunewright.types import SPLITS, ColumnProfile, Record, SourceFile, Tell, tell_nobody

_TELL_EVERY = 10_000


class Rows(Protocol):
    """What can be read again and again: a file or handed rows."""

    def records(self) -> Iterator[Record]:
        """The rows in order."""
        ...

    def describe(self, num_rows: int) -> SourceFile:
        """What was read."""
        ...


@dataclass(slots=True)
class Input:
    """One input: its name, the split that the user chose for it (or ``OPEN``), and what a first pass found."""

    name: str
    split: int
    sha256: str
    rows: Rows
    columns: dict[str, None] = field(default_factory=dict)
    num_rows: int = 0

    def verify_unchanged(self) -> None:
        """Raise InputError if the input is no longer what it was."""
        target: Any = self.rows.input if isinstance(self.rows, OpenedFile) else self.rows
        target.verify_unchanged()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Every input of a run after one look, in order, and the profiles of the columns of the training inputs."""

    entries: tuple[Input, ...]
    profiles: tuple[ColumnProfile, ...]


def look(config: Any, rows: object = None, tell: Tell = tell_nobody) -> Inputs:
    """The inputs that ``data`` names (or handed ``rows``), found, hashed, opened and gone through once.

    Whatever cannot be found or parsed is found here, before anything is written. Raises InputError, also for an input
    without rows.
    """
    entries = _gather(config, rows, tell)
    return Inputs(tuple(entries), _survey(entries, tell))


def _gather(config: Any, rows: object, tell: Tell) -> list[Input]:
    named = {
        OPEN: as_names(config.path),
        VALIDATION: as_names(config.validation_path),
        TEST: as_names(config.test_path),
    }
    if rows is not None:
        if named[OPEN]:
            raise InputError("rows and a path were given; one is enough", where="data.path", given=config.path)
        handed = HandedRows(rows)
        found = [Input(NAME, OPEN, handed.sha256, handed)]
    elif not named[OPEN]:
        raise InputError(
            "no data were named", where="data.path", allowed="a file, or asset:NAME", hint="data.path=FILE"
        )
    else:
        found = []
    for split, names in named.items():
        option = "data.path" if split == OPEN else f"data.{SPLITS[split]}_path"
        for name in names:
            opened = open_input(find_input(name, option, tell), config.format, config.max_row_bytes)
            found.append(Input(name, split, opened.input.fingerprint.sha256, opened))
    _refuse_same_content(found)
    return found


def _survey(inputs: list[Input], tell: Tell) -> tuple[ColumnProfile, ...]:
    """Note the columns and the number of rows of each input, and profile the columns of the training inputs."""
    sample = Sample()
    done = 0
    for entry in inputs:
        fixed = entry.rows.layout.columns if isinstance(entry.rows, OpenedFile) else ()
        entry.columns.update(dict.fromkeys(fixed))
        for record in entry.rows.records():
            entry.num_rows += 1
            fields = record.fields
            if fields:
                if not fixed:
                    entry.columns.update(dict.fromkeys(fields))
                if entry.split == OPEN:
                    sample.add(fields)
            if entry.num_rows % _TELL_EVERY == 0:
                tell("look", done + entry.num_rows, None, entry.name)
        if not entry.num_rows:
            header = isinstance(entry.rows, OpenedFile) and entry.rows.layout.has_header
            raise empty(entry.name, has_header=header)
        done += entry.num_rows
        if not fixed:
            entry.columns.update(_nested(sample.first))
    return sample.profiles()


def _nested(rows: list[Mapping[str, object]]) -> dict[str, None]:
    """The dotted columns inside objects, as far as the first rows show them."""
    return {
        name: None
        for row in rows[:100]
        if any(isinstance(value, Mapping) for value in row.values())
        for name in flatten(row)
    }


def _refuse_same_content(inputs: list[Input]) -> None:
    seen: dict[str, Input] = {}
    for entry in inputs:
        first = seen.setdefault(entry.sha256, entry)
        if first is not entry and first.split != entry.split:
            raise InputError(
                "the same content was given for two splits",
                where=entry.name,
                given=f"as {first.name}, byte for byte",
                allowed="different rows for training, validation and test",
                hint="leave data.test_path out, and test rows are set aside",
            )
