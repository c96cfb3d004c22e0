"""An n-gram model of characters or words: interpolated modified Kneser-Ney (Chen & Goodman 1999; Kneser & Ney 1995).

    NGram(order=5).fit(["a text", ...]).log_probability(["another"])         nats, one number a text

A text is a string, or its parts in order, each with whether it is to be predicted: in a dialogue the user's turns are only
history. After every part stands an end, which is predicted with it. The model is sorted arrays of integers: a context is a
number, and its key is (number of the context one shorter) * (number of units) + (the unit further to the left).

    T predicted places, S units that may follow, END and UNKNOWN among them
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunewright.evaluate.metric._pieces import ALONE, pieces

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats, Ints

Parts = Sequence[tuple[str, bool]]
"""A text in order: each part, and whether it is to be predicted or only stands before."""

START, END, UNKNOWN = "<start>", "<end>", "<unknown>"
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where too few n-grams occur once to four times to estimate them."""

TOO_SPACED = re.compile(rf"(?<=[{ALONE}]) (?=\S)| (?=[{ALONE}]|[^\w\s])")


@dataclass(frozen=True, slots=True)
class _Level:
    """One length of context: its sorted keys, the weight that each leaves to shorter ones, and what its n-grams get."""

    contexts: Ints
    weights: Floats
    grams: Ints
    shares: Floats


@dataclass(frozen=True, slots=True)
class _Places:
    """Texts laid end to end as unit numbers[all], with the places[T] to predict and the text[T] that each belongs to."""

    units: Ints
    places: Ints
    texts: Ints


class NGram:
    """Probability of the next unit given the ``order`` - 1 before it.

    ``unknown_size`` says how many units the unknown ones are: the probability of an unseen unit is spread evenly over them.
    """

    def __init__(self, order: int = 5, units: Literal["char", "word"] = "char", unknown_size: int = 1) -> None:
        """``order`` 1 knows no context. Words are cut as ``pieces`` does: a Chinese character is a word."""
        assert order >= 1, order
        self.order = order
        self.units = units
        self._unknown_size = unknown_size
        self._index: dict[str, int] = {}
        self._names: list[str] = []
        self._levels: list[_Level] = []

    def fit(self, texts: Sequence[str | Parts]) -> NGram:
        """Count the parts to be predicted; all parts give the vocabulary and the history."""
        cut = [[(self._cut(part), wanted) for part, wanted in _parts(text)] for text in texts]
        vocabulary = sorted({unit for text in cut for part, _ in text for unit in part})
        self._names = [START, END, UNKNOWN, *vocabulary]
        self._index = {name: number for number, name in enumerate(self._names)}
        laid = self._lay(cut)
        size, following = len(self._names), laid.units[laid.places]
        contexts, tables = np.zeros(len(following), dtype=np.int64), [np.zeros(1, dtype=np.int64)]
        for back in range(1, self.order):
            table, contexts = np.unique(contexts * size + laid.units[laid.places - back], return_inverse=True)
            tables.append(table)
        grams, counts = np.unique(contexts * size + following, return_counts=True)
        levels = [_level(tables[-1], grams, counts, size)]
        for above, table in pairwise(reversed(tables)):
            # Kneser-Ney: a shorter context counts in how many longer ones the unit was seen, not how often (section 4.1.6).
            grams, counts = np.unique(above[grams // size] // size * size + grams % size, return_counts=True)
            levels.append(_level(table, grams, counts, size))
        self._levels = levels[::-1]
        return self

    def log_probability(self, texts: Sequence[str | Parts]) -> Floats:
        """The natural logarithm of the probability of each text's predicted parts, their ends included."""
        laid = self._laid(texts)
        size, following = len(self._names), laid.units[laid.places]
        chances = np.full(len(following), 1.0 / (size - 1))
        contexts, known = np.zeros(len(following), dtype=np.int64), np.ones(len(following), dtype=bool)
        for back, level in enumerate(self._levels):
            if len(level.contexts) == 0:
                break
            if back:
                keys = contexts * size + laid.units[laid.places - back]
                contexts, found = _find(level.contexts, keys)
                known &= found
            grams, seen = _find(level.grams, contexts * size + following)
            own = np.where(seen, level.shares[grams], 0.0) if len(level.shares) else 0.0
            shared = own + level.weights[contexts] * chances
            chances = np.where(known, shared, chances)
        unknown = following == self._index[UNKNOWN]
        logs = np.log(np.where(unknown, chances / self._unknown_size, chances))
        summed: Floats = np.bincount(laid.texts, weights=logs, minlength=len(texts)).astype(np.float64)
        return summed

    def count(self, texts: Sequence[str | Parts]) -> Ints:
        """How many units are predicted in each text, ends included."""
        return np.bincount(self._laid(texts).texts, minlength=len(texts))

    def next_probabilities(self, text: str = "", before: Sequence[str] = ()) -> dict[str, float]:
        """The probability of every unit to follow ``text``, END and UNKNOWN among them; parts ``before`` it have ended."""
        parts = [(self._cut(part), False) for part in before]
        history = [int(unit) for unit in self._lay([parts]).units] + [self._number(unit) for unit in self._cut(text)]
        chances = self._follow(history)
        return {name: float(chance) for name, chance in zip(self._names[1:], chances[1:], strict=True)}

    def sample(self, before: Sequence[str] = (), *, max_units: int = 200, seed: int = 0) -> str:
        """A text drawn unit by unit until its end; UNKNOWN is never drawn."""
        rng = np.random.default_rng(seed)
        history = [int(unit) for unit in self._lay([[(self._cut(part), False) for part in before]]).units]
        drawn: list[str] = []
        while len(drawn) < max_units:
            chances = self._follow(history)
            chances[self._index[UNKNOWN]] = 0.0
            unit = int(rng.choice(len(chances), p=chances / chances.sum()))
            if unit == self._index[END]:
                break
            drawn.append(self._names[unit])
            history.append(unit)
        return "".join(drawn) if self.units == "char" else TOO_SPACED.sub("", " ".join(drawn))

    def _follow(self, history: Sequence[int]) -> Floats:
        """The probability of every unit after the last of ``history``; START has none."""
        size, context = len(self._names), 0
        chances = np.full(size, 1.0 / (size - 1))
        chances[0] = 0.0
        for back, level in enumerate(self._levels):
            if back:
                places, found = _find(level.contexts, np.array([context * size + history[-back]]))
                if not found[0]:
                    break
                context = int(places[0])
            first, last = np.searchsorted(level.grams, (context * size, (context + 1) * size))
            chances *= level.weights[context]
            chances[level.grams[first:last] % size] += level.shares[first:last]
        return chances

    def _cut(self, text: str) -> Sequence[str]:
        return text if self.units == "char" else pieces(text)

    def _number(self, unit: str) -> int:
        return self._index.get(unit, self._index[UNKNOWN])

    def _laid(self, texts: Sequence[str | Parts]) -> _Places:
        return self._lay([[(self._cut(part), wanted) for part, wanted in _parts(text)] for text in texts])

    def _lay(self, cut: Sequence[Sequence[tuple[Sequence[str], bool]]]) -> _Places:
        start, end = self._index[START], self._index[END]
        units: list[int] = []
        places: list[Ints] = []
        lengths = []
        for text in cut:
            units += [start] * (self.order - 1)
            before = len(places)
            for part, wanted in text:
                first = len(units)
                units += [self._number(unit) for unit in part]
                units.append(end)
                if wanted:
                    places.append(np.arange(first, len(units)))
            lengths.append(sum(map(len, places[before:])))
        laid = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
        return _Places(np.array(units, dtype=np.int64), laid, np.repeat(np.arange(len(cut)), lengths))


def discounts(counts: Ints) -> tuple[float, float, float]:
    """What is taken from n-grams seen once, twice, and three times or more (Chen & Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if min(n1, n2, n3) == 0:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < one <= most for most, one in enumerate(found, 1)) else FALLBACK


def _level(contexts: Ints, grams: Ints, counts: Ints, size: int) -> _Level:
    taken = np.array((0.0, *discounts(counts)))[np.minimum(counts, 3)]
    owner = grams // size
    totals = np.bincount(owner, weights=counts, minlength=len(contexts))
    weights = np.bincount(owner, weights=taken, minlength=len(contexts)) / np.maximum(totals, 1.0)
    shares = (counts - taken) / totals[owner]
    # Without a single place to learn from, everything is left to the even distribution.
    return _Level(contexts, np.where(totals > 0, weights, 1.0), grams, shares)


def _find(table: Ints, keys: Ints) -> tuple[Ints, Bools]:
    """Where the keys stand in a sorted table, and whether they do."""
    if len(table) == 0:
        return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return places, table[places] == keys


def _parts(text: str | Parts) -> Parts:
    return [(text, True)] if isinstance(text, str) else text
