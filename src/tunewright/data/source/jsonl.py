"""One JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tunewright.data.encoding import recognise_encoding
from tunewright.data.lines import Lines, OverlongError
from tunewright.data.source._objects import DECODER, PROBLEMS, as_record, explain
from tunewright.data.source.base import BaseSource, Layout, SourceConfig, Unusable, first_text
from tunewright.errors import InputError
from tunewright.types import Origin, Record


class Jsonl(BaseSource):
    """Lines of JSON objects; blank lines are passed over."""

    class Config(SourceConfig):
        """The options of jsonl files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.95 by the name; 0.97 for text whose first line is a whole object and is followed by more."""
        first, _, rest = first_text(head).replace("\r", "\n").partition("\n")
        if first.startswith("{") and (rest.strip() or path.suffix.lower() != ".json"):
            try:
                return 0.97 if isinstance(json.loads(first), dict) else 0.0
            except PROBLEMS:
                pass
        return 0.95 if path.suffix.lower() in (".jsonl", ".ndjson") else 0.0

    def layout(self, path: Path) -> Layout:
        """The encoding; columns are learnt while reading."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        return Layout(encoding=encoding.name, notes=encoding.notes)

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order; see ``BaseSource.read``."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        limit, file, number = self.config.max_row_bytes, str(path), 0
        with Lines(path, encoding.codec, limit) as lines:
            while True:
                try:
                    line = next(lines)
                except StopIteration:
                    break
                except OverlongError:
                    yield Unusable(number, {}, Origin(file, lines.number), f"more than {limit:,} bytes")
                    number += 1
                    continue
                if line.isspace():
                    continue
                yield self._record(number, line, Origin(file, lines.number))
                number += 1
            if lines.is_mixed:
                self.notes.append("mixed line ends")

    def _record(self, number: int, line: str, origin: Origin) -> Record:
        limit = self.config.max_row_bytes
        if len(line) * 4 > limit and len(line.encode("utf-8", "replace")) > limit:
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        try:
            value = DECODER.decode(line)
        except PROBLEMS as problem:
            raise _broken(origin, explain(problem), line) from None
        record = as_record(number, value, origin)
        if record is None:
            raise _broken(origin, "this line is not an object", line)
        return record


def _broken(origin: Origin, problem: str, line: str) -> InputError:
    return InputError(
        f"broken JSON: {problem}",
        where=str(origin),
        given=line.strip(),
        allowed='one whole object per line, such as {"text": "...", "label": "..."}',
        hint=f"look at the line: sed -n {origin.line}p {origin.file}",
    )
