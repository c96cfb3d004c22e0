"""Delimited text: records with their true first line, stray quotes repaired, oversized rows passed over."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

from tunewright.config.base import Option
from tunewright.data.encoding import Encoding, recognise_encoding
from tunewright.data.lines import Lines, OverlongError
from tunewright.data.source._dialect import NAMES, Dialect, recognise_dialect
from tunewright.data.source.base import BaseSource, Layout, SourceConfig, Unusable
from tunewright.errors import InputError
from tunewright.types import Origin, Record
from tunewright.words import counted

_SAMPLE_LINES = 2000
_SAMPLE_CHARACTERS = 1 << 19


class DelimitedConfig(SourceConfig):
    """The options of delimited text."""

    delimiter: str = Option("auto", "The character between fields; recognised among `,` `;` tab `|` when it is `auto`.")
    header: bool | None = Option(None, "Whether the first row names the columns; recognised when not given.")


class Delimited(BaseSource):
    """Rows of fields between delimiters. ``has_quotes`` says whether a double quote may enclose a field."""

    Config: ClassVar[type[SourceConfig]] = DelimitedConfig
    has_quotes: ClassVar[bool] = True
    delimiter: ClassVar[str] = "auto"

    def __init__(self, config: SourceConfig | None = None) -> None:
        """Hold the options; the defaults serve when none are given."""
        super().__init__(config)
        self._recognised: tuple[Path, Encoding, Dialect] | None = None

    def layout(self, path: Path) -> Layout:
        """Encoding, delimiter, header and columns, from the first lines."""
        encoding, dialect = self._recognise(path)
        notes = (*encoding.notes, *(["a backslash escapes quotes inside fields"] if dialect.escape else []))
        name = NAMES.get(dialect.delimiter, dialect.delimiter)
        return Layout(
            encoding=encoding.name, columns=dialect.columns, delimiter=name, has_header=dialect.has_header, notes=notes
        )

    def read(self, path: Path) -> Iterator[Record]:
        """The rows in file order, numbered from 0; see ``BaseSource.read``."""
        encoding, dialect = self._recognise(path)
        limit = self.config.max_row_bytes
        csv.field_size_limit(max(csv.field_size_limit(), min(4 * limit + 16, sys.maxsize // 2)))
        file, names, header = str(path), dialect.columns, list(dialect.header)
        with Lines(path, encoding.codec, limit) as lines:
            list(islice(lines, dialect.preamble))
            rows = RecordReader(lines, dialect, file, limit)
            if dialect.has_header:
                next(rows, None)
            number = -1
            for number, (line, row, reason) in enumerate(rows):
                origin = Origin(file, line)
                if reason or row == header:
                    yield Unusable(number, {}, origin, reason or "the header again")
                else:
                    yield Record(number, dict(zip(names, row, strict=True)), origin)
            self._remark(rows, lines)

    def _remark(self, rows: RecordReader, lines: Lines) -> None:
        if rows.num_stray:
            self.notes.append(f"stray quotes taken as ordinary characters in {counted(rows.num_stray, 'row')}")
        if lines.is_mixed:
            self.notes.append("mixed line ends")

    def _recognise(self, path: Path) -> tuple[Encoding, Dialect]:
        """The encoding and dialect of the file, looked for once per instance."""
        if self._recognised is not None and self._recognised[0] == path:
            return self._recognised[1:]
        config: Any = self.config
        encoding = recognise_encoding(path, str(path), config.encoding)
        sample: list[str] = []
        num_characters = 0
        with Lines(path, encoding.codec, config.max_row_bytes) as lines:
            while len(sample) < _SAMPLE_LINES and num_characters < _SAMPLE_CHARACTERS:
                try:
                    sample.append(next(lines))
                except OverlongError:
                    continue
                except StopIteration:
                    break
                num_characters += len(sample[-1])
        delimiter = self.delimiter if config.delimiter == "auto" else config.delimiter
        if delimiter != "auto" and len(delimiter) != 1:
            raise InputError(
                "a delimiter is one character", where="data.format.delimiter", given=delimiter, allowed="auto , ; |"
            )
        return encoding, recognise_dialect(
            sample, delimiter=delimiter, header=config.header, has_quotes=self.has_quotes
        )


class RecordReader:
    """Iterates over (first line, fields, reason); fields are empty where a reason says why the row cannot be used.

    The strict reader of the standard library does the work. Where it objects, or where a quoted field would swallow
    what are plainly rows, the quote was a stray one: the first line is a row of its own and the rest is read again.
    """

    def __init__(self, lines: Lines, dialect: Dialect, file: str, max_bytes: int) -> None:
        """Read from ``lines``; ``file`` names the file in errors."""
        self._feed = _Feed(lines, max_bytes)
        self._lines, self._dialect, self._file, self._limit = lines, dialect, file, max_bytes
        self._width = len(dialect.columns)
        self._reader = csv.reader(self._feed, **dialect.options())  # type: ignore[arg-type]
        self.num_stray = 0

    def __iter__(self) -> Self:
        """The records themselves."""
        return self

    def __next__(self) -> tuple[int, list[str], str]:
        """The next record that is not a blank line."""
        feed = self._feed
        while True:
            start = self._lines.number + 1
            feed.taken = []
            feed.size = 0
            try:
                row = next(self._reader)
            except (csv.Error, OverlongError) as problem:
                return self._repair(start, problem)
            if len(feed.taken) > 1 and self._swallows_rows():
                return self._first_line_alone(start)
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if (
                feed.size * 4 > self._limit
                and len("".join(map(str, feed.taken)).encode("utf-8", "replace")) > self._limit
            ):
                return start, [], f"more than {self._limit:,} bytes"
            return start, *self._fit(row)

    def _fit(self, row: list[str]) -> tuple[list[str], str]:
        width = self._width
        if len(row) > width and not any(cell.strip() for cell in row[width:]):
            row = row[:width]
        if len(row) == width:
            return row, ""
        return [], f"{len(row)} fields where {width} are expected"

    def _swallows_rows(self) -> bool:
        """Whether every line of a quoted record would be a row of its own, with a known value in the same column."""
        split = [self._dialect.split(str(line)) for line in self._feed.taken]
        if any(len(cells) != self._width for cells in split) or self._width < 2:
            return False
        return any(
            known is not None and all(cells[at].strip().strip('"') in known for cells in split)
            for at, known in enumerate(self._dialect.known)
        )

    def _first_line_alone(self, start: int) -> tuple[int, list[str], str]:
        first, rest = self._feed.taken[0], self._feed.taken[1:]
        self._lines.push_back(rest)
        self.num_stray += 1
        return start, self._dialect.split(str(first)), ""

    def _repair(self, start: int, problem: Exception) -> tuple[int, list[str], str]:
        taken = self._feed.taken
        if taken[0] is None:
            return start, [], f"more than {self._limit:,} bytes"
        if len(self._dialect.split(taken[0])) == self._width and self._width > 1:
            return self._first_line_alone(start)
        if isinstance(problem, OverlongError):
            return self._pass_over(start)
        if "unexpected end" in str(problem):
            raise self._unclosed(start)
        if len(taken) == 1:
            lenient = next(csv.reader([taken[0]], **{**self._dialect.options(), "strict": False}))  # type: ignore[arg-type]
            self.num_stray += 1
            return start, *self._fit(lenient)
        self._lines.push_back(taken[1:])
        return start, [], "quotes do not pair up"

    def _pass_over(self, start: int) -> tuple[int, list[str], str]:
        """Leave a quoted record that is too large: go on to the line on which its quotes pair up."""
        odd = sum(str(line).count('"') for line in self._feed.taken if line is not None) % 2 == 1
        while odd:
            try:
                odd ^= next(self._lines).count('"') % 2 == 1
            except OverlongError:
                continue
            except StopIteration:
                raise self._unclosed(start) from None
        return start, [], f"more than {self._limit:,} bytes"

    def _unclosed(self, start: int) -> InputError:
        return InputError(
            "a quote that opens in this row is never closed",
            where=f"{self._file}:{start}",
            given=str(self._feed.taken[0]).rstrip("\r\n"),
            allowed='fields between two double quotes, with "" for a quote inside',
            hint="close the quote, or read quotes as ordinary characters: data.format=tsv for tab-separated files",
        )


class _Feed:
    """Hands physical lines to the csv reader and keeps those of the record at hand; None stands for an overlong one."""

    def __init__(self, lines: Lines, limit: int) -> None:
        self._lines, self._limit = lines, limit
        self.taken: list[str | None] = []
        self.size = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except OverlongError:
            self.taken.append(None)
            raise
        self.taken.append(line)
        self.size += len(line)
        if self.size > self._limit:
            raise OverlongError
        return line
