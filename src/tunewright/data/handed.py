"""Rows that a program hands over: a list of dicts, a data frame of pandas, or a table of pyarrow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunewright.errors import InputError
from tunewright.types import Origin, Record, SourceFile

NAME = "<rows>"
_BATCH_ROWS = 4096


class HandedRows:
    """The rows, which can be gone through again and again. Raises InputError for anything that is not a table."""

    def __init__(self, rows: object) -> None:
        """Recognise the kind by what it offers; pandas is never imported."""
        value: Any = rows
        self._value = value
        if hasattr(value, "to_batches") and hasattr(value, "column_names"):
            self.format = "arrow"
        elif hasattr(value, "itertuples") and hasattr(value, "columns"):
            self.format = "frame"
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            self.format = "list"
            _refuse_other_rows(value)
        else:
            raise InputError(
                "these rows are not a table",
                where=NAME,
                given=type(value).__name__,
                allowed="a list of dicts, a pandas DataFrame, a pyarrow Table, or a path",
                hint='tunewright.run([{"text": "...", "label": "..."}, ...])',
            )
        self.sha256 = self._digest()

    def records(self) -> Iterator[Record]:
        """The rows in order; the line of a row is its 1-based number."""
        for number, fields in enumerate(self._fields()):
            yield Record(number, fields, Origin(NAME, number + 1))

    def describe(self, num_rows: int) -> SourceFile:
        """The rows as if they were a file."""
        return SourceFile(
            path=NAME, format=self.format, encoding="memory", sha256=self.sha256, num_bytes=0, num_rows=num_rows
        )

    def verify_unchanged(self) -> None:
        """Raise InputError if the rows are no longer what they were."""
        if self._digest() != self.sha256:
            raise InputError(
                "the rows changed while they were read",
                where=NAME,
                given="other rows than at the start",
                allowed="rows that stay as they are",
                hint="hand over a copy of them",
            )

    def _fields(self) -> Iterator[Mapping[str, object]]:
        if self.format == "arrow":
            for batch in self._value.to_batches(max_chunksize=_BATCH_ROWS):
                yield from batch.to_pylist()
        elif self.format == "frame":
            names = [str(name) for name in self._value.columns]
            for values in self._value.itertuples(index=False, name=None):
                yield {name: _plain(value) for name, value in zip(names, values, strict=True)}
        else:
            for row in self._value:
                yield {str(name): _plain(value) for name, value in row.items()}

    def _digest(self) -> str:
        total = hashlib.sha256()
        for fields in self._fields():
            total.update(json.dumps(fields, sort_keys=True, default=repr).encode())
            total.update(b"\n")
        return total.hexdigest()


def _refuse_other_rows(rows: Sequence[object]) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(
                "this row is not a dict",
                where=f"{NAME}:{number}",
                given=row,
                allowed='dicts such as {"text": "...", "label": "..."}',
                hint='tunewright.run([{"text": "...", "label": "..."}, ...])',
            )


def _plain(value: Any) -> object:
    """A value of numpy or pandas as Python's own; NaN and NaT as None."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 0) == 0:
        value = value.item()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    ):
        return None
    return value
