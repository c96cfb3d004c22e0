"""A file of lines that only grows. Each append is synced; a torn end is left behind by the next append.

After a failed append nobody knows what the drive holds, and a second sync of the same file would prove nothing; so the
next append writes a fresh file (what was acknowledged, and the new lines) and puts it in place of the doubtful one. The
same is done with a file whose end a crash has torn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunewright.store import durable
from tunewright.store.disk import disk


class Journal:
    """The lines of one file. One writer at a time; any number of readers."""

    def __init__(self, path: Path, is_sound: Callable[[bytes], bool]) -> None:
        """``is_sound`` tells a line as it was written from a damaged one. The file need not exist; nothing is read yet."""
        self.path = path
        self._is_sound = is_sound
        self._length = 0
        self._known = False
        self._doubtful = False

    def lines(self) -> list[bytes]:
        """The sound lines without their newline, oldest first. Raises MachineError."""
        with durable.reported(self.path):
            whole = self._read().splitlines(keepends=True)
        return [line[:-1] for line in whole if line.endswith(b"\n") and self._is_sound(line[:-1])]

    def append(self, *lines: bytes) -> None:
        """Add lines and return once they are on the drive; a line holds no newline. Raises MachineError."""
        content = b"".join(line + b"\n" for line in lines)
        with durable.reported(self.path):
            if not self._known:
                self._look()
                self._settle()
            if self._doubtful:
                durable.replace_document(self.path, self._read()[: self._length] + content)
            else:
                self._doubtful = True
                self._add(content)
        self._length += len(content)
        self._doubtful = False

    def _look(self) -> None:
        """Find the end of the last sound line; what follows it was torn by a crash and never acknowledged."""
        content = self._read()
        end = 0
        for line in content.splitlines(keepends=True):
            end += len(line)
            if line.endswith(b"\n") and self._is_sound(line[:-1]):
                self._length = end
        self._doubtful = self._length != len(content)

    def _settle(self) -> None:
        """Sync the folder once: the process that made the file may have been killed before it did."""
        if self.path.exists():
            disk().sync_folder(self.path.parent)
        self._known = True

    def _add(self, content: bytes) -> None:
        if self.path.exists():
            disk().append(self.path, content)
            return
        durable.make_folders(self.path.parent)
        disk().write_new(self.path, content)
        disk().sync_folder(self.path.parent)

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
