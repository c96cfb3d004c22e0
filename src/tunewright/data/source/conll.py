"""Words with tags, one to a line, a blank line between sentences: CoNLL 2003, WNUT, Universal NER and their kind.

EU      B-ORG            0 1 ... columns by tabs or spaces; the word is the first that is no number, the tag the last one
rejects O                that looks like tags; lines that begin with `# ` or `-DOCSTART-` are passed over
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunewright.data.encoding import recognise_encoding
from tunewright.data.lines import Lines, OverlongError
from tunewright.data.source.base import BaseSource, Layout, SourceConfig, Unusable, first_text
from tunewright.errors import InputError
from tunewright.types import Origin, Record

_TAG = re.compile(r"O|[BIESLUM][-_]\S+")
_COMMENT = ("# ", "-DOCSTART-")
"""How lines begin that hold no word, unless they end with a tag: then `#` is the word."""
_SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".bmes")
_HEAD = 1 << 16
_FEWEST = 5


class Conll(BaseSource):
    """Sentences of tagged words; the columns are ``tokens`` and ``tags``, lists of one length."""

    class Config(SourceConfig):
        """The options of files of tagged words."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.98 by its content or its name; 0 where no column of it looks like tags."""
        lines = [_split(line) for line in first_text(head).splitlines()[:-1]]
        rows = [line for line in lines if line is not None]
        is_tagged = _tag_column(rows) is not None
        if path.suffix.lower() in _SUFFIXES:
            return 0.98 if is_tagged else 0.6
        return 0.98 if is_tagged and len(rows) >= _FEWEST and None in lines[1:] else 0.0

    def layout(self, path: Path) -> Layout:
        """The encoding and the two columns."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        return Layout(encoding=encoding.name, columns=("tokens", "tags"), notes=encoding.notes)

    def read(self, path: Path) -> Iterator[Record]:
        """The sentences in file order, each with its first line; see ``BaseSource.read``."""
        encoding = recognise_encoding(path, str(path), self.config.encoding)
        word, tag = self._columns(path)
        limit, file, number = self.config.max_row_bytes, str(path), 0
        sentence: list[Sequence[str]] = []
        begin = num_bytes = 0
        with Lines(path, encoding.codec, limit) as lines:
            while True:
                line = _next(lines)
                row = None if line is None else _split(line)
                if row is not None:
                    if max(word, tag) >= len(row):
                        raise _broken(f"{file}:{lines.number}", line or "", max(word, tag) + 1)
                    begin = begin or lines.number
                    num_bytes += len(line or "")
                    if num_bytes <= limit:  # what is longer is left out, and not held either
                        sentence.append(row)
                elif sentence and (line is None or not line.strip()):
                    yield self._record(number, sentence, Origin(file, begin), (word, tag), num_bytes)
                    number, sentence, begin, num_bytes = number + 1, [], 0, 0
                if line is None:
                    return

    def _record(
        self, number: int, sentence: list[Sequence[str]], origin: Origin, columns: tuple[int, int], num_bytes: int
    ) -> Record:
        limit, (word, tag) = self.config.max_row_bytes, columns
        if num_bytes > limit:
            return Unusable(number, {}, origin, f"more than {limit:,} bytes")
        fields = {"tokens": [row[word] for row in sentence], "tags": [row[tag] for row in sentence]}
        return Record(number, fields, origin)

    def _columns(self, path: Path) -> tuple[int, int]:
        """The numbers of the columns of words and of tags. Raises InputError where none looks like tags."""
        with path.open("rb") as stream:
            head = first_text(stream.read(_HEAD))
        lines = head.splitlines()
        whole = lines[:-1] if len(lines) > 1 and not head.endswith("\n") else lines
        rows = [row for line in whole if (row := _split(line)) is not None]
        tag = _tag_column(rows)
        if tag is None and path.suffix.lower() in _SUFFIXES and rows and all(len(row) == 2 for row in rows):
            tag = 1  # a label to each word, such as its part of speech
        if tag is None:
            raise _broken(str(path), " ".join(rows[0]) if rows else "", 2)
        numbered = [at for at in range(len(rows[0])) if all(row[at : at + 1] and row[at].isdecimal() for row in rows)]
        others = [at for at in range(len(rows[0])) if at != tag]
        return next((at for at in others if at not in numbered), others[0]), tag


def _next(lines: Lines) -> str | None:
    """The next line; None at the end of the file. Raises InputError for a line that is too long to be a word."""
    try:
        return next(lines)
    except StopIteration:
        return None
    except OverlongError:
        raise _broken(f"line {lines.number}", "a line longer than data.max_row_bytes", 2) from None


def _split(line: str) -> Sequence[str] | None:
    """The cells of a line; None for one that holds no word."""
    bare = line.rstrip()
    if not bare.strip():
        return None
    cells = bare.split("\t") if "\t" in bare else bare.split()
    if bare.startswith(_COMMENT) and ("=" in cells[1:4] or cells[0] != "#" or not _TAG.fullmatch(cells[-1])):
        return None
    return [cell.strip() for cell in cells]


def _tag_column(rows: Sequence[Sequence[str]]) -> int | None:
    """The last column, after the first, of which every cell looks like a tag, some of them more than O."""
    width = min(map(len, rows), default=0)
    for at in range(width - 1, 0, -1):
        cells = [row[at] for row in rows]
        if all(map(_TAG.fullmatch, cells)) and any(cell != "O" for cell in cells):
            return at
    return None


def _broken(where: str, given: str, width: int) -> InputError:
    return InputError(
        "this line is no word with its tag",
        where=where,
        given=given.strip()[:80] or "nothing",
        allowed=f"{max(2, width)} columns or more, tags such as B-PER, I-PER and O, a blank line between sentences",
        hint='write one object per line (jsonl): {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}',
    )
