"""The dialect of delimited text, recognised from the first lines of a file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunewright.data.source._headers import KNOWN_HEADERS, fold_header, is_header, numbered_names, unique_names

DELIMITERS = (",", "\t", ";", "|")
NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", "": "none"}
_LEAST_CONSISTENT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How fields are told apart, what the columns are called, and how many lines come before the rows.

    ``known`` holds, per column, the few values that it takes in the sample, or None when it takes many.
    ``regularity`` is 1 for equal widths alone, and above 1.2 where a known header or a clean label column agrees.
    """

    delimiter: str
    has_quotes: bool
    skips_blanks: bool
    escape: str | None
    preamble: int
    has_header: bool
    columns: tuple[str, ...]
    header: tuple[str, ...]
    known: tuple[frozenset[str] | None, ...]
    regularity: float

    def options(self) -> dict[str, object]:
        """The keyword arguments of ``csv.reader``, strict about quotes."""
        return {
            "delimiter": self.delimiter or "\x1f",
            "quoting": csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE,
            "skipinitialspace": self.skips_blanks,
            "escapechar": self.escape,
            "strict": self.has_quotes,
        }

    def split(self, line: str) -> list[str]:
        """One line with every quote an ordinary character."""
        return line.rstrip("\r\n").split(self.delimiter or "\x1f")


def recognise_dialect(
    lines: Sequence[str], *, delimiter: str = "auto", header: bool | None = None, has_quotes: bool = True
) -> Dialect:
    """The dialect that makes the sample lines most regular."""
    preamble = 0
    if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip()) <= 5:
        preamble, told = 1, lines[0].strip("\r\n")[4:5]
        delimiter = told if delimiter == "auto" and told else delimiter
    body = lines[preamble:]
    candidates = DELIMITERS if delimiter == "auto" else (delimiter,)
    escape = _escape("".join(body)) if has_quotes else None
    parsed = [(-at, mark, _parse(body, mark, has_quotes, escape)) for at, mark in enumerate(candidates)]
    scored = [(_score(rows), order, mark, rows) for order, mark, rows in parsed if rows]
    best = max(scored, default=(0.0, 0, "", []))
    chosen = best[2] if best[0] > 0 or delimiter != "auto" else ""
    rows = best[3] if chosen else [[line.rstrip("\r\n")] for line in body if line.strip()]
    return replace(_describe(body, rows, chosen, header, has_quotes, preamble), regularity=best[0])


def _describe(
    body: Sequence[str], rows: list[list[str]], delimiter: str, header: bool | None, has_quotes: bool, preamble: int
) -> Dialect:
    width = Counter(len(row) for row in rows).most_common(1)[0][0] if rows else 1
    first = rows[0] if rows else []
    has_header = is_header(_aligned(rows, width)) if header is None else header
    names = unique_names(first) if has_header else numbered_names(width)
    if has_header and len(first) == width - 1:
        names = unique_names(["", *first])
    joined = "".join(body)
    quotes = has_quotes and bool(delimiter or joined.count('"') > 1)
    return Dialect(
        delimiter=delimiter,
        has_quotes=quotes,
        skips_blanks=quotes and f'{delimiter} "' in joined,
        escape=_escape(joined) if quotes else None,
        preamble=preamble,
        has_header=has_header,
        columns=names,
        header=tuple(first) if has_header else (),
        known=_known_values(rows[has_header:], len(names)),
        regularity=0.0,
    )


def _escape(text: str) -> str | None:
    """A backslash where quotes are written with one and never doubled."""
    return "\\" if '\\"' in text and '""' not in text.replace('\\""', "") else None


def _aligned(rows: list[list[str]], width: int) -> list[list[str]]:
    """The rows for the header test; a header that is one cell short (row names without a title) gets its first cell."""
    if rows and len(rows[0]) == width - 1 > 0:
        return [["", *rows[0]], *rows[1:]]
    return rows


def _known_values(rows: list[list[str]], width: int) -> tuple[frozenset[str] | None, ...]:
    known: list[frozenset[str] | None] = []
    for position in range(width):
        counts = Counter(row[position] for row in rows if len(row) == width)
        few = (
            len(counts) <= 256 and sum(counts.values()) >= 2 * len(counts) and all(len(value) <= 64 for value in counts)
        )
        known.append(frozenset(value for value in counts if value) if few else None)
    return tuple(known)


def _parse(lines: Sequence[str], delimiter: str, has_quotes: bool, escape: str | None) -> list[list[str]]:
    """The rows of the sample under one delimiter; a line whose quotes do not pair up is split as it stands."""
    if not has_quotes:
        return [
            row for row in (line.rstrip("\r\n").split(delimiter) for line in lines) if any(cell.strip() for cell in row)
        ]
    rows: list[list[str]] = []
    at = 0
    while at < len(lines):
        taken, row = _one_record(lines, at, delimiter, escape)
        at += taken
        if any(cell.strip() for cell in row):
            rows.append(row)
    return rows


def _one_record(lines: Sequence[str], at: int, delimiter: str, escape: str | None) -> tuple[int, list[str]]:
    line = lines[at]
    if '"' not in line:
        return 1, line.rstrip("\r\n").split(delimiter)
    blank_after = f'{delimiter} "' in line
    reader = csv.reader(
        iter(lines[at : at + 200]), delimiter=delimiter, strict=True, skipinitialspace=blank_after, escapechar=escape
    )
    try:
        row = next(reader)
    except (csv.Error, StopIteration):
        return 1, line.rstrip("\r\n").split(delimiter)
    return reader.line_num, row


def _score(rows: list[list[str]]) -> float:
    """How regular the rows are: the share with the commonest width, plus a known header or a clean label column."""
    if not rows:
        return 0.0
    width, count = Counter(len(row) for row in rows).most_common(1)[0]
    share = count / len(rows)
    if width < 2 or share < _LEAST_CONSISTENT:
        return 0.0
    sample = [row for row in rows if len(row) == width]
    columns = list(zip(*sample, strict=True))
    score = share
    score += 0.5 * any(fold_header(cell) in KNOWN_HEADERS for cell in rows[0]) * (len(rows[0]) >= width - 1)
    score += 0.3 * any(_is_clean_category(column) for column in columns)
    score -= 0.5 * max(_share_of_prose_breaks(column) for column in columns[1:])
    return max(score, 0.01)


def _is_clean_category(column: Sequence[str]) -> bool:
    distinct = set(column)
    if len(distinct) > max(2, len(column) // 2) or len(distinct) < 2:
        return False
    return all(len(cell) <= 40 and not any(mark in cell for mark in DELIMITERS) for cell in distinct)


def _share_of_prose_breaks(column: Sequence[str]) -> float:
    """The share of cells that begin with a blank, as the rest of a sentence does after a comma."""
    return sum(1 for cell in column if cell[:1] == " " and cell[1:2] != '"' and len(cell) > 12) / len(column)
