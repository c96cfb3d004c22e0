"""A small SQLite database that survives kills and power cuts: opened, brought up to date, changed in transactions.

It keeps SQLite's rollback journal, so that it is one file at rest and also works where memory cannot be shared.
``synchronous=EXTRA`` waits for the drive, the entry of the removed journal included.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tunewright.errors import CorruptError, MachineError

WAIT_SECONDS = 30.0
"""How long to wait for another process that is writing."""

_SETTINGS = ("synchronous = EXTRA", "fullfsync = ON", "foreign_keys = ON", "trusted_schema = OFF")


class Database:
    """The database in the file at ``path``. One thread at a time."""

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Sequence[str]],
        *,
        create: bool = False,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Open it, or make it with ``create``; ``migrations[n]`` are the statements from schema n to n + 1.

        Raises MachineError for a file that cannot be opened or that a newer version has written, CorruptError.
        """
        self.path = path
        with self._reported():
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
                uri=True,
                timeout=wait_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.row_factory = sqlite3.Row
            try:
                for setting in _SETTINGS:
                    self._connection.execute(f"PRAGMA {setting}")
                self._migrate(migrations)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def read(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """The rows that a query gives. Raises MachineError, CorruptError."""
        with self._reported():
            return self._connection.execute(statement, values).fetchall()

    def version(self) -> int:
        """A number that changes when another connection has committed something; asking costs one read of some bytes."""
        return int(self.read("PRAGMA data_version")[0][0])

    @contextmanager
    def change(self) -> Iterator[Any]:
        """A transaction: ``change.execute(...)``; all of it lasts when the block has ended, or none of it.

        No other process writes meanwhile. Raises MachineError where that takes too long or the disk fails.
        """
        with self._reported():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _migrate(self, migrations: Sequence[Sequence[str]]) -> None:
        if self._schema() < len(migrations):
            with self.change() as change:
                for number in range(self._schema(), len(migrations)):  # asked again: another process may have been here
                    for statement in migrations[number]:
                        change.execute(statement)
                    change.execute(f"PRAGMA user_version = {number + 1}")
        if self._schema() > len(migrations):
            raise MachineError(
                "a newer version of this program has written here",
                where=str(self.path),
                given=f"schema {self._schema()}",
                allowed=f"schema {len(migrations)} or older",
                hint="pip install --upgrade tunewright",
            )

    def _schema(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # a mistake in this program, not of the disk
            raise _failure(error, self.path) from error


def _failure(error: sqlite3.Error, path: Path) -> MachineError:
    name = getattr(error, "sqlite_errorname", "")
    given = f"{name}: {error}".removeprefix(": ")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        problem, allowed = "another process is writing here", "one that is soon done"
        return MachineError(problem, where=str(path), given=given, allowed=allowed, hint="type the same command again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        problem, hint = "the database is damaged", f"restore {path} from a copy, or move it away and begin anew"
        return CorruptError(problem, where=str(path), given=given, allowed="a SQLite database", hint=hint)
    allowed, hint = "a folder on a working drive with free space", "look at the path, then type the same command again"
    return MachineError("the database cannot be used", where=str(path), given=given, allowed=allowed, hint=hint)
