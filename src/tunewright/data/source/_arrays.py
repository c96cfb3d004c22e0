"""Arrays of JSON read as a stream: an element at a time, with the line on which it begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tunewright.data.encoding import recognise_encoding
from tunewright.data.source._objects import DECODER, PROBLEMS, explain
from tunewright.data.source.base import BaseSource, Layout, Unusable
from tunewright.data.window import EndOfTextError, Window
from tunewright.errors import InputError
from tunewright.types import Origin, Record


class ArraySource(BaseSource):
    """A source whose rows are the elements of JSON arrays; ``allowed`` and ``hint`` say in errors what it reads."""

    allowed: ClassVar[str]
    hint: ClassVar[str]

    def records(self, window: Window, file: str) -> Iterator[Record]:
        """The rows of the whole file, by way of ``array``."""
        raise NotImplementedError

    def record(self, number: int, value: object, origin: Origin) -> Record:
        """One element as a row. Raises InputError where it is no row."""
        raise NotImplementedError

    def layout(self, path: Path) -> Layout:
        """The encoding; columns are learnt while reading."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        return Layout(encoding=encoding.name, notes=encoding.notes)

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order, each with the line on which its element begins; see ``BaseSource.read``."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        with path.open("r", encoding=encoding.codec, newline="") as stream:
            window = Window(stream, self.config.max_row_bytes)
            try:
                yield from self.records(window, str(path))
            except EndOfTextError:
                where = f"{path}:{window.line}"
                raise self.broken(where, "the file ends inside the array", window.look(80)) from None

    def key(self, window: Window, file: str) -> object:
        """The next key of the object that the window stands in; its ``:`` is passed."""
        try:
            key, _ = window.value(DECODER)
            if window.peek() != ":":
                raise ValueError("':' is missing after a key")
        except PROBLEMS as problem:
            raise self.broken(f"{file}:{window.line}", explain(problem), window.look(80)) from None
        window.skip(1)
        return key

    def array(self, window: Window, file: str, first: int = 0) -> Iterator[Record]:
        """The elements of the array whose ``[`` was just passed, numbered from ``first``; its ``]`` is passed, too."""
        number = first
        while window.peek() != "]":
            origin = Origin(file, window.line)
            yield self._element(window, number, origin)
            number += 1
            if window.peek() == ",":
                window.skip(1)
                if window.peek() == "]":
                    raise self.broken(f"{file}:{window.line}", "a comma before the end of the array", window.look(80))
            elif window.peek() != "]":
                raise self.broken(f"{file}:{window.line}", "a comma is missing between two records", window.look(80))
        window.skip(1)

    def broken(self, where: str, problem: str, given: str) -> InputError:
        """The error for a file that does not hold what it should."""
        return InputError(
            f"broken JSON: {problem}",
            where=where,
            given=given,
            allowed=self.allowed,
            hint=self.hint,
        )

    def _element(self, window: Window, number: int, origin: Origin) -> Record:
        limit = self.config.max_row_bytes
        try:
            value, num_bytes = window.value(DECODER)
        except PROBLEMS as problem:
            if not window.pass_over_element(limit):
                raise self.broken(str(origin), explain(problem), window.look(120)) from None
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        if num_bytes > limit:
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        return self.record(number, value, origin)
