"""Parquet files, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.data.source.base import BaseSource, Layout, SourceConfig
from tunewright.errors import InputError
from tunewright.types import Origin, Record

_BATCH_ROWS = 1024


class Parquet(BaseSource):
    """Rows of a Parquet file; the line of a row is its 1-based number."""

    class Config(SourceConfig):
        """The options of Parquet files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """1.0 for the format's own first four bytes, 0.9 by the name."""
        return 1.0 if head.startswith(b"PAR1") else 0.9 if path.suffix.lower() in (".parquet", ".pq") else 0.0

    def layout(self, path: Path) -> Layout:
        """The columns, from the file's footer."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as file:
                return Layout(encoding="binary", columns=tuple(file.schema_arrow.names))
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise _broken(path, problem) from None

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order; see ``BaseSource.read``."""
        import pyarrow as pa
        from pyarrow import parquet

        number, file = 0, str(path)
        try:
            with parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                    for fields in batch.to_pylist():
                        yield Record(number, fields, Origin(file, number + 1))
                        number += 1
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise _broken(path, problem) from None


def _broken(path: Path, problem: Exception) -> InputError:
    return InputError(
        "this Parquet file cannot be read",
        where=str(path),
        given=str(problem),
        allowed="a whole Parquet file",
        hint="write it again; a file that was cut off in a download has no footer",
    )
