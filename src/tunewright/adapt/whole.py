"""Examples that wait on the drive, whole, until it is known how long they may be: Arrow batches in a file, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import IO, Any

from tunewright.types import Example


class CutsRows:
    """An encoder of which a row is one example: what is too long is cut, where others divide it."""

    usual_length: int | None = None
    """The longest row that is usual, where the recipe does not say; None leaves it to the data and the model."""

    def cut(self, example: Example, max_length: int) -> Example:
        """The row as if its text ended earlier."""
        raise NotImplementedError

    def divide(self, example: Example, max_length: int) -> Sequence[Example]:
        """The one example that is left of a longer one."""
        return (self.cut(example, max_length),)


def keep_examples(pieces: Iterable[list[Example]], scratch: IO[bytes]) -> Iterator[list[Example]]:
    """Each piece as it comes, written to ``scratch`` in passing."""
    import pyarrow as pa

    columns = {"ids": pa.list_(pa.int32()), "target": pa.list_(pa.float64()), "turns": pa.list_(pa.int32())}
    schema = pa.schema({**columns, "roles": pa.list_(pa.string())})
    with pa.ipc.new_stream(scratch, schema) as writer:
        for examples in pieces:
            kept: list[Any] = [[getattr(example, name) for example in examples] for name in schema.names]
            writer.write_batch(pa.record_batch(kept, schema=schema))
            yield examples


def kept_examples(scratch: IO[bytes]) -> Iterator[list[Example]]:
    """The pieces that were written to ``scratch``, as they were."""
    import pyarrow as pa

    scratch.seek(0)
    with pa.ipc.open_stream(scratch) as reader:
        for batch in reader:
            numbers = [_lists(batch[name]) for name in ("ids", "target", "turns")]
            yield [Example(*parts) for parts in zip(*numbers, batch["roles"].to_pylist(), strict=True)]


def _lists(column: Any) -> list[list[Any]]:
    values = column.values.to_numpy()
    return [values[start:end].tolist() for start, end in pairwise(column.offsets.tolist())]
