"""Rows of one file with all the columns that the user gave them, for answers to be written beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tunewright.data.files import empty, find_input, open_input
from tunewright.data.profile import Sample
from tunewright.types import ColumnProfile, Record, SourceFile, Tell, tell_nobody

MAX_ROW_BYTES = 1 << 20


def read_rows(
    name: str,
    format: str | Mapping[str, Any] = "auto",  # noqa: A002 - the option's own name
    max_row_bytes: int = MAX_ROW_BYTES,
    tell: Tell = tell_nobody,
) -> tuple[tuple[str, ...], Iterator[Record], SourceFile]:
    """The columns in their order, the rows in file order, and the file as it was read.

    A row that cannot be used comes as an ``Unusable`` with its reason, so that no row is lost from the numbering. The file
    is gone through once before, so that nothing is answered when it cannot be parsed: InputError with file:line.
    """
    columns, _, records, described = read_profiled(name, format, max_row_bytes, tell)
    return columns, records(), described


def read_profiled(
    name: str,
    format: str | Mapping[str, Any] = "auto",  # noqa: A002
    max_row_bytes: int = MAX_ROW_BYTES,
    tell: Tell = tell_nobody,
) -> tuple[tuple[str, ...], tuple[ColumnProfile, ...], Callable[[], Iterator[Record]], SourceFile]:
    """As ``read_rows``, with the profile of each column and a callable that goes through the rows anew.

    Raises InputError for a file without a row, too.
    """
    opened = open_input(find_input(name, "FILE", tell), format, max_row_bytes)
    sample, seen, num_rows = Sample(), dict.fromkeys(opened.layout.columns), 0
    for record in opened.records():
        num_rows += 1
        if record.fields:
            sample.add(record.fields)
            if not opened.layout.columns:
                seen.update(dict.fromkeys(record.fields))
        if num_rows % 10_000 == 0:
            tell("read", num_rows, None, "rows")
    if not num_rows:
        raise empty(name, has_header=opened.layout.has_header)
    described = opened.describe(num_rows)
    opened.input.verify_unchanged()

    def records() -> Iterator[Record]:
        yield from opened.records()
        opened.input.verify_unchanged()

    return tuple(seen), sample.profiles(), records, described
