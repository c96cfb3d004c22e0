"""Plain text: one text per line, also with fastText's ``__label__x`` in front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.data.encoding import recognise_encoding
from tunewright.data.lines import Lines, OverlongError
from tunewright.data.source.base import BaseSource, Layout, SourceConfig, Unusable, first_text
from tunewright.types import Origin, Record

_PREFIX = "__label__"


class Txt(BaseSource):
    """Lines of text; a line with tabs belongs to tsv."""

    class Config(SourceConfig):
        """The options of text files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.97 for fastText's form, 0.5 by the name, 0.2 for any other text."""
        text = first_text(head)
        if text.startswith(_PREFIX):
            return 0.97
        return 0.5 if path.suffix.lower() in (".txt", ".text") else 0.2

    def layout(self, path: Path) -> Layout:
        """The encoding and the columns: ``text``, and ``label`` for fastText's form."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        is_fasttext = self._is_fasttext(path)
        notes = (*encoding.notes, *(["fastText form: __label__x text"] if is_fasttext else []))
        return Layout(encoding=encoding.name, columns=("text", "label") if is_fasttext else ("text",), notes=notes)

    def read(self, path: Path) -> Iterator[Record]:
        """The lines that are not blank, in file order; see ``BaseSource.read``."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        is_fasttext, limit, file, number = self._is_fasttext(path), self.config.max_row_bytes, str(path), 0
        with Lines(path, encoding.codec, limit) as lines:
            while True:
                try:
                    line: str | None = next(lines)
                except StopIteration:
                    break
                except OverlongError:
                    line = None
                if line is not None and line.isspace():
                    continue
                origin = Origin(file, lines.number)
                if line is None or (len(line) * 4 > limit and len(line.encode("utf-8", "replace")) > limit):
                    yield Unusable(number, {}, origin, f"more than {limit:,} bytes")
                else:
                    text = line.rstrip("\r\n")
                    yield Record(number, _fasttext(text) if is_fasttext else {"text": text}, origin)
                number += 1
            if lines.is_mixed:
                self.notes.append("mixed line ends")

    def _is_fasttext(self, path: Path) -> bool:
        with path.open("rb") as stream:
            return first_text(stream.read(4096)).startswith(_PREFIX)


def _fasttext(line: str) -> dict[str, object]:
    """Leading ``__label__`` words as the label (a list when there are several), the rest as the text."""
    words = line.strip()
    labels: list[str] = []
    while words.startswith(_PREFIX):
        first, _, words = words.partition(" ") if " " in words else words.partition("\t")
        labels.append(first[len(_PREFIX) :])
        words = words.lstrip()
    return {"text": words, "label": labels if len(labels) > 1 else labels[0] if labels else None}
