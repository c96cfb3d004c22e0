"""A JSON array of objects, also one inside an object such as ``{"data": [...]}``; read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.data.encoding import recognise_encoding
from tunewright.data.source._objects import DECODER, PROBLEMS, as_record, explain
from tunewright.data.source.base import BaseSource, Layout, SourceConfig, Unusable, first_text
from tunewright.data.window import EndOfTextError, Window
from tunewright.errors import InputError
from tunewright.types import Origin, Record

_SHAPE = '[{"text": "...", "label": "..."}, ...]'


class Json(BaseSource):
    """An array of objects."""

    class Config(SourceConfig):
        """The options of json files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.9 by the name or for text that begins as an array of objects."""
        text = first_text(head)
        is_array = text.startswith("[") and text[1:].lstrip()[:1] in ("{", "]")
        return 0.96 if is_array else 0.9 if path.suffix.lower() == ".json" else 0.0

    def layout(self, path: Path) -> Layout:
        """The encoding; columns are learnt while reading."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        return Layout(encoding=encoding.name, notes=encoding.notes)

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order, each with the line on which its object begins; see ``BaseSource.read``."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        with path.open("r", encoding=encoding.codec, newline="") as stream:
            window = Window(stream, self.config.max_row_bytes)
            try:
                yield from self._array(window, str(path))
            except EndOfTextError:
                raise _broken(f"{path}:{window.line}", "the file ends inside the array", window.look(80)) from None

    def _array(self, window: Window, file: str) -> Iterator[Record]:
        self._find_array(window, file)
        number = 0
        while window.peek() != "]":
            origin = Origin(file, window.line)
            yield self._element(window, number, origin)
            number += 1
            if window.peek() == ",":
                window.skip(1)
                if window.peek() == "]":
                    raise _broken(f"{file}:{window.line}", "a comma before the end of the array", window.look(80))
            elif window.peek() != "]":
                raise _broken(f"{file}:{window.line}", "a comma is missing between two records", window.look(80))
        window.skip(1)

    def _element(self, window: Window, number: int, origin: Origin) -> Record:
        limit = self.config.max_row_bytes
        try:
            value, num_bytes = window.value(DECODER)
        except PROBLEMS as problem:
            if not window.pass_over_element(limit):
                raise _broken(str(origin), explain(problem), window.look(120)) from None
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        if num_bytes > limit:
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        record = as_record(number, value, origin)
        if record is None:
            raise _broken(str(origin), "this element is not an object", str(value))
        return record

    def _find_array(self, window: Window, file: str) -> None:
        """Stand behind the ``[`` of the records: the file's own array, or the first one that an object's key holds."""
        opening = window.peek()
        if opening == "[":
            window.skip(1)
            return
        if opening != "{":
            raise _broken(f"{file}:{window.line}", "no array of records", window.look(80))
        window.skip(1)
        while True:
            try:
                window.value(DECODER)
                if window.peek() != ":":
                    raise ValueError("':' is missing after a key")
                window.skip(1)
                if window.peek() == "[" and window.peek_second() == "{":
                    window.skip(1)
                    return
                window.value(DECODER)
            except PROBLEMS as problem:
                raise _broken(f"{file}:{window.line}", explain(problem), window.look(80)) from None
            if window.peek() != ",":
                raise _broken(
                    f"{file}:{window.line}", "no key of this object holds an array of records", window.look(80)
                )
            window.skip(1)


def _broken(where: str, problem: str, given: str) -> InputError:
    return InputError(
        f"broken JSON: {problem}",
        where=where,
        given=given,
        allowed=f"an array of objects: {_SHAPE}; or one object per line (jsonl)",
        hint="in pandas: frame.to_json('data.jsonl', orient='records', lines=True)",
    )
