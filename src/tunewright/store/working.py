"""A private folder for work that nobody keeps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder that this user alone can read, outside every run; it is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="tunewright-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
