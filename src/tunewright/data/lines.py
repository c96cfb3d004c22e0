"""The physical lines of a text file, with true numbers, in bounded memory."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self


class OverlongError(Exception):
    """A physical line, or a record of several, is longer than the limit; it was passed over, not held."""


class Lines:
    r"""The lines of a file, each with its line end (``\n``, ``\r\n`` or ``\r``), one at a time.

    ``number`` is the 1-based number of the line returned last. Lines may be pushed back to be read again. A line of
    more than ``max_characters`` is passed over and OverlongError raised in its place; reading goes on after it.
    """

    def __init__(self, path: Path, codec: str, max_characters: int) -> None:
        """Open the file; use as a context manager."""
        self._stream = path.open("r", encoding=codec, newline="")
        self._limit = max_characters
        self._pending: deque[str | None] = deque()
        self._readline = self._stream.readline
        self.number = 0

    def __enter__(self) -> Self:
        """The lines themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()

    def __iter__(self) -> Self:
        """The lines themselves."""
        return self

    def __next__(self) -> str:
        """The next line with its line end; the last one may have none."""
        if self._pending:
            line = self._pending.popleft()
            self.number += 1
            if line is None:
                raise OverlongError
            return line
        piece = self._readline(self._limit + 2)
        if not piece:
            raise StopIteration
        self.number += 1
        if len(piece) > self._limit:
            self._pass_over(piece)
            raise OverlongError
        return piece

    def push_back(self, lines: list[str | None]) -> None:
        """Put lines back so that they are read again; None stands for an overlong one."""
        self._pending.extendleft(reversed(lines))
        self.number -= len(lines)

    @property
    def is_mixed(self) -> bool:
        """Whether more than one kind of line end has been met so far."""
        return isinstance(self._stream.newlines, tuple)

    def _pass_over(self, piece: str) -> None:
        while piece and not piece.endswith(("\n", "\r")):
            piece = self._readline(self._limit + 2)
        if len(piece) == self._limit + 2 and piece.endswith("\r"):
            self._finish_line_end()

    def _finish_line_end(self) -> None:
        r"""Take the ``\n`` that belongs to a ``\r`` at the very end of a piece; anything else begins the next line."""
        first = self._readline(1)
        if first in ("", "\n"):
            return
        line = first if first == "\r" else first + self._readline(self._limit + 1)
        if len(line) > self._limit:
            self._pending.append(None)
            self._pass_over(line)
        else:
            self._pending.append(line)
