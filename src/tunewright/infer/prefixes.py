"""Rows of a batch that begin alike: which part of which rows is worth reading once for all of them.

A causal model reads a token by what lies before it, so tokens that stand behind the same tokens have the same states. Rows are
sorted, so that those that begin alike lie side by side, and the stretch is cut where that saves most tokens: a system prompt that
all rows share, pairs of answers to one question, the turns of a dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tunewright.types import Ints

WORTHWHILE = 1 / 16
"""The share of a batch's tokens that must be saved: copying keys and values of a prefix is not free."""

SHORTEST = 8
"""Tokens of a prefix that is worth a segment of its own."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first ``length`` tokens of these rows, read once."""

    rows: tuple[int, ...]
    length: int

    @property
    def saved(self) -> int:
        """Tokens that are not read again."""
        return (len(self.rows) - 1) * self.length


def find_prefixes(rows: Sequence[Ints]) -> list[Prefix]:
    """What rows of token ids share, each row in at most one prefix and with a token of its own; nothing if little is saved."""
    if len(rows) < 2:
        return []
    order = sorted(range(len(rows)), key=lambda row: rows[row].astype(">u4").tobytes())
    common = [_alike(rows[one], rows[two]) for one, two in pairwise(order)]
    found = [Prefix(tuple(order[start:stop]), length) for start, stop, length in _best(common)]
    saved = sum(prefix.saved for prefix in found)
    return found if saved >= WORTHWHILE * sum(map(len, rows)) else []


def _alike(one: Ints, two: Ints) -> int:
    """How many tokens two rows begin with alike, the last token of the shorter one left out."""
    size = min(len(one), len(two)) - 1
    if size <= 0:
        return 0
    differs = one[:size] != two[:size]
    return int(differs.argmax()) if differs.any() else size


def _best(common: Sequence[int]) -> list[tuple[int, int, int]]:
    """(Start, stop, length) of the stretches of neighbours that save most: each is taken whole, or cut where it shares least."""
    todo, cuts = [(0, len(common) + 1)], []
    while todo:  # the stretches, each before its parts
        start, stop = todo.pop()
        if stop - start < 2:
            continue
        at = start + int(np.argmin(common[start : stop - 1]))
        cuts.append((start, stop, at + 1))
        todo += [(start, at + 1), (at + 1, stop)]
    best: dict[tuple[int, int], tuple[int, list[tuple[int, int, int]]]] = {}
    for start, stop, cut in reversed(cuts):
        length = min(common[start : stop - 1])
        left, right = (best.get(part, (0, [])) for part in ((start, cut), (cut, stop)))
        whole = (stop - start - 1) * length if length >= SHORTEST else 0
        if whole > left[0] + right[0]:
            best[start, stop] = whole, [(start, stop, length)]
        else:
            best[start, stop] = left[0] + right[0], [*left[1], *right[1]]
    return best.get((0, len(common) + 1), (0, []))[1]
