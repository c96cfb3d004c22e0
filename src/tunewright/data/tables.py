"""The Arrow files of a Dataset: a spool while rows are read, then one file per split, and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tunewright.types import Field, Outcome

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from tunewright.data.account import Account
    from tunewright.data.duplicates import Duplicates

SPOOL = "spool.arrow"
LEDGER = "ledger.arrow"
_BATCH_ROWS = 8192
_BATCH_CHARACTERS = 1 << 24


def row_schema(fields: Sequence[Field], *, with_units: bool = False) -> pa.Schema:
    """The columns of every split: id, file, line, the hash of the unit where rows have one, and the task's stored fields."""
    import pyarrow as pa

    lists = {"label": pa.list_(pa.string())}
    origin = [("id", pa.int64()), ("file", pa.string()), ("line", pa.int32()), ("unit", pa.uint64())]
    return pa.schema(
        [*origin[: 4 if with_units else 3], *((field.name, lists.get(field.kind, pa.string())) for field in fields)]
    )


class RowWriter:
    """Writes rows to an Arrow IPC file in batches."""

    def __init__(self, path: Path, fields: Sequence[Field], *, with_units: bool = False) -> None:
        """Open ``path``, which must not exist; use as a context manager."""
        import pyarrow as pa

        self._pa: Any = pa
        self._schema = row_schema(fields, with_units=with_units)
        self._names = [field.name for field in fields]
        self._writer = pa.ipc.new_file(str(path), self._schema)
        self._columns: list[list[object]] = [[] for _ in self._schema]
        self._num_characters = 0

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending, unless an error passes, and close the file."""
        if error is None:
            self._flush()
        self._writer.close()

    def add(self, origin: tuple[int, str, int, int], fields: Mapping[str, object], num_characters: int) -> None:
        """Add one row; ``origin`` is its id, file, line and unit."""
        columns = self._columns
        values = [*origin[: len(columns) - len(self._names)], *map(fields.get, self._names)]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
        self._num_characters += num_characters
        if len(columns[0]) >= _BATCH_ROWS or self._num_characters > _BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._columns[0]:
            arrays = [
                self._pa.array(values, field.type) for values, field in zip(self._columns, self._schema, strict=True)
            ]
            self._writer.write_batch(self._pa.record_batch(arrays, schema=self._schema))
            self._columns = [[] for _ in self._schema]
            self._num_characters = 0


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file, one in memory at a time."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def write_splits(spool: Path, targets: Mapping[int, Path], split: NDArray[np.int8]) -> None:
    """Copy each row of the spool to the file of its split[N]; rows of a split without a target are left out."""
    import pyarrow as pa

    start = 0
    writers: dict[int, Any] = {}
    try:
        for batch in batches(spool):
            codes = split[start : start + batch.num_rows]
            start += batch.num_rows
            for code, path in targets.items():
                if code not in writers:
                    writers[code] = pa.ipc.new_file(str(path), batch.schema)
                chosen = batch.filter(pa.array(codes == code))
                if chosen.num_rows:
                    writers[code].write_batch(chosen)
    finally:
        for writer in writers.values():
            writer.close()


def write_ledger(path: Path, account: Account, duplicates: Duplicates) -> None:
    """Write the rows that were not kept: id, file, line, outcome, reason, and the id that a duplicate repeats."""
    import pyarrow as pa

    names = pa.array(account.files.values(), pa.string())
    reasons = pa.array(account.reasons.values(), pa.string())
    copies = np.flatnonzero(~duplicates.kept)
    ids = np.asarray(account.id, np.int64)
    said = np.where(
        duplicates.leaked[copies],
        "its text is also in a split that is held out",
        np.where(duplicates.relabelled[copies], "same text with another label", "same text"),
    )
    outcomes = [Outcome.REJECTED.value] * len(account.rejected_id) + [Outcome.DUPLICATE.value] * len(copies)
    files = np.r_[np.asarray(account.rejected_file, np.int32), np.asarray(account.file, np.int32)[copies]]
    table = pa.table(
        {
            "id": pa.array(np.r_[np.asarray(account.rejected_id, np.int64), ids[copies]]),
            "file": names.take(pa.array(files)),
            "line": pa.array(
                np.r_[np.asarray(account.rejected_line, np.int32), np.asarray(account.line, np.int32)[copies]]
            ),
            "outcome": pa.array(outcomes, pa.string()),
            "reason": pa.concat_arrays(
                [
                    reasons.take(pa.array(np.asarray(account.rejected_reason, np.int32))),
                    pa.array(said.tolist(), pa.string()),
                ]
            ),
            "duplicate_of": pa.concat_arrays(
                [pa.nulls(len(account.rejected_id), pa.int64()), pa.array(ids[duplicates.original[copies]])]
            ),
        }
    )
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table.sort_by("id"))
