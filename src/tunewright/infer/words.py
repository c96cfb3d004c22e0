"""The words of a text that are labelled one by one, and the tokens in which a model reads them.

A word is a run of letters and digits, a single mark, or a single character of a script that is written without spaces.
Where one token reaches into several words, they are labelled as one: no boundary lies inside a token.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import category

UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of scripts that are written without spaces between words, as a class of a regular expression."""
_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Unit:
    """What gets one label: characters ``start`` to ``end`` of the text, and the first token in which they are read."""

    start: int
    end: int
    token: int


def find_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, in order; marks that combine with a letter belong to its word."""
    found: list[tuple[int, int]] = []
    goes_on = False
    for match in _WORD.finditer(text):
        start, end = match.span()
        touches = bool(found) and found[-1][1] == start
        combines = not text[start].isalnum() and category(text[start]).startswith("M")
        if touches and (combines or (goes_on and text[start].isalnum() and not is_unspaced(text[start]))):
            found[-1] = found[-1][0], end
            goes_on = True
            continue
        found.append((start, end))
        goes_on = False
    return found


def is_unspaced(character: str) -> bool:
    """Whether the character belongs to a script that is written without spaces between words."""
    return re.match(f"[{UNSPACED}]", character) is not None


def find_units(text: str, offsets: Sequence[tuple[int, int]]) -> list[Unit]:
    """The words of the text as far as tokens[T] with these character ``offsets`` tell them apart.

    Words that no token reads, such as characters that a tokenizer drops, are left out.
    """
    words = find_words(text)
    starts = [start for start, _ in words]
    first: dict[int, int] = {}
    joined: set[int] = set()
    for token, (start, end) in enumerate(offsets):
        bare = text[start:end].strip()
        if not bare:
            continue
        begin = text.index(bare, start)
        low, high = bisect_right(starts, begin) - 1, bisect_right(starts, begin + len(bare) - 1) - 1
        first.setdefault(low, token)
        joined.update(range(low + 1, high + 1))
    units: list[Unit] = []
    for number, (start, end) in enumerate(words):
        if number in joined and units:
            units[-1] = Unit(units[-1].start, end, units[-1].token)
        elif number in first:
            units.append(Unit(start, end, first[number]))
    return units
