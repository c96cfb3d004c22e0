"""What a bounded sample of rows says about each column; tasks recognise their fields from it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from tunewright.types import ColumnProfile

FIRST_ROWS = 2000
SPREAD_ROWS = 4000
_MAX_COUNTS = 2000
_MAX_DEPTH = 3
_NUMBER = re.compile(r"[-+]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?([eE][-+]?\d+)?")
_INTEGER = re.compile(r"[-+]?\d+(\.0+)?")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Sample:
    """The first rows and a spread of later ones: every ``stride``-th, the stride doubled whenever the store is full."""

    def __init__(self) -> None:
        """Begin empty."""
        self.first: list[Mapping[str, object]] = []
        self._spread: list[Mapping[str, object]] = []
        self._stride = 1
        self.num_rows = 0

    def add(self, fields: Mapping[str, object]) -> None:
        """Take in one row, or leave it."""
        if len(self.first) < FIRST_ROWS:
            self.first.append(fields)
        elif self.num_rows % self._stride == 0:
            self._spread.append(fields)
            if len(self._spread) >= SPREAD_ROWS:
                self._stride *= 2
                self._spread = self._spread[::2]
        self.num_rows += 1

    def profiles(self) -> tuple[ColumnProfile, ...]:
        """One profile per column, in the order in which columns first appear."""
        columns: dict[str, list[object]] = {}
        rows = [flatten(row) for row in (*self.first, *self._spread)]
        for number, row in enumerate(rows):
            for name, value in row.items():
                columns.setdefault(name, [None] * number).append(value)
            for values in columns.values():
                if len(values) <= number:
                    values.append(None)
        return tuple(profile_column(name, at, values) for at, (name, values) in enumerate(columns.items()))


def flatten(fields: Mapping[str, object], prefix: str = "", depth: int = 0) -> dict[str, object]:
    """Nested objects as dotted columns: ``{"meta": {"id": 3}}`` has the column ``meta.id``."""
    flat: dict[str, object] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            flat.update(flatten(value, f"{prefix}{key}.", depth + 1))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def column_value(fields: Mapping[str, object], name: str) -> object:
    """The value of a column by its name or its dotted path; None where it is missing or NaN."""
    value = fields.get(name)
    if value is None and "." in name and name not in fields:
        inner: object = fields
        for part in name.split("."):
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        value = inner
    return None if isinstance(value, float) and math.isnan(value) else value


def as_list(value: object) -> list[object] | None:
    """A list, also one written out in a cell: ``["a", "b"]`` or ``['a', 'b']``; None for anything else."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str) or not (value.startswith("[") and value.endswith("]")) or len(value) > 10_000:
        return None
    for text in (value, value.replace("'", '"')):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, list) else None
    return None


def profile_column(name: str, position: int, values: Sequence[object]) -> ColumnProfile:
    """The profile of a column from sample values; None, NaN and blanks are empty. ``counts`` holds the commonest."""
    is_list = False
    texts: list[str] = []
    for value in values:
        found = as_list(value)
        if found is not None:
            is_list = is_list or bool(found)
            texts.append(json.dumps(found, ensure_ascii=False, default=str))
        elif value is not None and not (isinstance(value, float) and math.isnan(value)):
            texts.append(str(value).strip())
    filled = [text for text in texts if text]
    counts = Counter(filled)
    num = len(filled)
    integers = [text for text in filled if _INTEGER.fullmatch(text)]
    return ColumnProfile(
        name=name,
        position=position,
        num_values=num,
        num_distinct=len(counts),
        fraction_empty=1 - num / len(values) if values else 1.0,
        fraction_distinct=len(counts) / num if num else 0.0,
        mean_length=sum(map(len, filled)) / num if num else 0.0,
        max_length=max(map(len, filled), default=0),
        mean_words=sum(len(_WORD.findall(text[:2000])) for text in filled) / num if num else 0.0,
        fraction_numeric=sum(1 for text in filled if _NUMBER.fullmatch(text)) / num if num else 0.0,
        fraction_integer=len(integers) / num if num else 0.0,
        is_list=is_list,
        is_sequential=num > 2 and len(integers) == num and _is_rising(integers),
        examples=tuple(text[:200] for text in list(counts)[:5]),
        counts=dict(counts.most_common(_MAX_COUNTS)),
    )


def _is_rising(integers: Sequence[str]) -> bool:
    numbers = [float(text) for text in integers]
    return all(later > earlier for earlier, later in pairwise(numbers))
