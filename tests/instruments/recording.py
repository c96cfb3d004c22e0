"""Disks for tests: one that writes down every operation, or dies at one; one on which an operation fails.

Neither waits for the drive: what would be durable is worked out from the log (``crashes``), not from the hardware.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from tunewright.store.disk import LocalDisk, Operation

ALLOCATING: Collection[str] = ("mkdir", "create", "write", "link")
"""The operations that a full disk refuses; renaming and removing still work there."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A note of the program under test between two operations, for instance that a commit was acknowledged."""

    note: object


class Killed(BaseException):
    """The process is dead: no operation happens from here on, not even cleaning up."""


class RecordingDisk(LocalDisk):
    """Writes down operations and marks in ``log``; with ``kill_at`` the operation of that number (from 1) never happens."""

    def __init__(self, kill_at: int | None = None) -> None:
        """Start with an empty log."""
        self.log: list[Operation | Mark] = []
        self.kill_at = kill_at
        self.num_operations = 0

    def step(self, operation: Operation) -> None:
        """Note the operation; the content of a file that another library wrote is noted when it is synced."""
        self.num_operations += 1
        if self.kill_at is not None and self.num_operations >= self.kill_at:
            raise Killed
        if operation.kind == "sync_file":
            operation = Operation("sync_file", operation.path, content=operation.path.read_bytes())
        self.log.append(operation)

    def flush(self, descriptor: int) -> None:
        """Do not wait."""

    def mark(self, note: object) -> None:
        """Note something between two operations."""
        self.log.append(Mark(note))


class FailingDisk(LocalDisk):
    """On which the operation of number ``fail_at`` (from 1) fails with an errno; and, if ``persistent``, all later ones.

    Only operations of the ``kinds`` given are counted. A write fails half-way, as on a disk that runs full.
    """

    def __init__(
        self, fail_at: int, error: int, *, persistent: bool = False, kinds: Collection[str] | None = None
    ) -> None:
        """Nothing has failed yet."""
        self.fail_at = fail_at
        self.error = error
        self.persistent = persistent
        self.kinds = kinds
        self.num_operations = 0
        self.num_failures = 0

    def step(self, operation: Operation) -> None:
        """Count the operation, and fail it when its time has come."""
        if self.kinds is not None and operation.kind not in self.kinds:
            return
        self.num_operations += 1
        if self.num_operations == self.fail_at or (self.persistent and self.num_operations > self.fail_at):
            self.num_failures += 1
            if operation.kind == "write":
                with operation.path.open("ab") as file:
                    file.write(operation.content[: len(operation.content) // 2])
            raise OSError(self.error, os.strerror(self.error), str(operation.path))

    def flush(self, descriptor: int) -> None:
        """Do not wait."""
