"""A JSON array of objects, also one inside an object such as ``{"data": [...]}``; read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.data.source._arrays import ArraySource
from tunewright.data.source._objects import DECODER, PROBLEMS, as_record, explain
from tunewright.data.source.base import SourceConfig, first_text
from tunewright.data.window import Window
from tunewright.types import Origin, Record


class Json(ArraySource):
    """An array of objects."""

    allowed = 'an array of objects: [{"text": "...", "label": "..."}, ...]; or one object per line (jsonl)'
    hint = "in pandas: frame.to_json('data.jsonl', orient='records', lines=True)"

    class Config(SourceConfig):
        """The options of json files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.9 by the name or for text that begins as an array of objects."""
        text = first_text(head)
        is_array = text.startswith("[") and text[1:].lstrip()[:1] in ("{", "]")
        return 0.96 if is_array else 0.9 if path.suffix.lower() == ".json" else 0.0

    def records(self, window: Window, file: str) -> Iterator[Record]:
        """The elements of the one array."""
        self._find_array(window, file)
        return self.array(window, file)

    def record(self, number: int, value: object, origin: Origin) -> Record:
        """An object as it stands."""
        record = as_record(number, value, origin)
        if record is None:
            raise self.broken(str(origin), "this element is not an object", str(value))
        return record

    def _find_array(self, window: Window, file: str) -> None:
        """Stand behind the ``[`` of the records: the file's own array, or the first one that an object's key holds."""
        opening = window.peek()
        if opening == "[":
            window.skip(1)
            return
        if opening != "{":
            raise self.broken(f"{file}:{window.line}", "no array of records", window.look(80))
        window.skip(1)
        while True:
            self.key(window, file)
            if window.peek() == "[" and window.peek_second() == "{":
                window.skip(1)
                return
            try:
                window.value(DECODER)
            except PROBLEMS as problem:
                raise self.broken(f"{file}:{window.line}", explain(problem), window.look(80)) from None
            if window.peek() != ",":
                raise self.broken(
                    f"{file}:{window.line}", "no key of this object holds an array of records", window.look(80)
                )
            window.skip(1)
