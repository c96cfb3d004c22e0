"""A file that the user asked for, written piece by piece and then there whole, or not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunewright.store import durable
from tunewright.store.disk import disk


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A private path to write to; when the block ends well, it is synced and takes the name ``path``.

    What stood there before is replaced only then. Raises MachineError when the disk fails.
    """
    temporary = durable.private_path(path.parent)
    with durable.filling(path):
        durable.make_folders(path.parent)
        try:
            yield temporary
            disk().sync_file(temporary)
            disk().rename(temporary, path)
        except BaseException:
            durable.discard(temporary)
            raise
        disk().sync_folder(path.parent)
