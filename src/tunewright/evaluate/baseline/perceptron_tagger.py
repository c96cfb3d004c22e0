"""A classical tagger: the averaged perceptron over features of words and their neighbours, with the best path of tags.

Collins 2002, "Discriminative Training Methods for Hidden Markov Models", sections 2.1 to 2.3; weights are averaged over all
updates by the running sum of Daumé 2006, "Practical Structured Learning", figure 2.3.

Shape letters: P words, F features of a word, G tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.infer.tags import IMPOSSIBLE, Tags
from tunewright.infer.words import Unit, find_words
from tunewright.types import Floats, Ints, Spans

MOST_WORDS = 150_000
"""Words of training that are learnt from: a minute on one core."""


class PerceptronTagger:
    """The averaged structured perceptron on words, their shapes, beginnings and ends, and those beside them."""

    title = "a classical tagger (averaged perceptron)"
    answers = "spans"

    class Config(ComponentConfig):
        """Options of the perceptron."""

        epochs: int = Option(5, "Passes over the training rows.", ge=1, le=100)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the order of the rows."""
        self.config = config or self.Config()
        self._seed = seed
        self._numbers: dict[str, int] = {"": 0}
        self._tags = Tags(())
        self._weights: Floats = np.zeros((1, 1))
        self._moves: Floats = np.zeros((1, 1))

    def fit(self, texts: Sequence[str], gold: Spans) -> None:
        """Learn from the training rows in a drawn order, pass after pass."""
        self._tags = tags = Tags(gold.names)
        random = np.random.default_rng(self._seed)
        rows: list[tuple[Ints, Ints]] = []
        num_words = 0
        for number in random.permutation(len(texts)):
            units = _units(texts[number])
            if num_words + len(units) > MOST_WORDS:
                continue
            num_words += len(units)
            if units:
                rows.append(
                    (self._features(texts[number], units, learns=True), tags.of_spans(gold.found[number], units)[0])
                )
        size = len(tags.names)
        self._weights, self._moves = np.zeros((len(self._numbers), size)), np.zeros((size, size))
        late = np.zeros_like(self._weights), np.zeros_like(self._moves)
        step = 1
        for _ in range(self.config.epochs):
            for number in random.permutation(len(rows)):
                features, right = rows[number]
                self._update(features, right, self._path(features), late, step)
                step += 1
        self._weights -= late[0] / step
        self._moves -= late[1] / step

    def predict(self, texts: Sequence[str]) -> Spans:
        """The spans of the best path of each text."""
        found = []
        for text in texts:
            units = _units(text)
            tags = self._path(self._features(text, units, learns=False)) if units else np.zeros(0, dtype=np.int64)
            found.append(self._tags.to_spans(tags, units))
        return Spans(self._tags.labels, tuple(found))

    def _update(self, features: Ints, right: Ints, given: Ints, late: tuple[Floats, Floats], step: int) -> None:
        for at in np.flatnonzero(right != given).tolist():
            for sign, tag in ((1.0, right[at]), (-1.0, given[at])):
                self._weights[features[at], tag] += sign
                late[0][features[at], tag] += sign * step
        for at in range(1, len(right)):
            if right[at] != given[at] or right[at - 1] != given[at - 1]:
                for sign, path in ((1.0, right), (-1.0, given)):
                    self._moves[path[at - 1], path[at]] += sign
                    late[1][path[at - 1], path[at]] += sign * step

    def _path(self, features: Ints) -> Ints:
        """The tags[P] of the largest sum of weights that obey the scheme."""
        scores = self._weights[features].sum(axis=1)
        moves = np.where(self._tags.may_follow, self._moves, IMPOSSIBLE)
        best = scores[0] + np.where(self._tags.may_begin, 0.0, IMPOSSIBLE)
        back = np.zeros(scores.shape, dtype=np.int64)
        for at in range(1, len(scores)):
            paths = best[:, np.newaxis] + moves
            back[at] = paths.argmax(axis=0)
            best = paths.max(axis=0) + scores[at]
        tags = np.zeros(len(scores), dtype=np.int64)
        tags[-1] = best.argmax()
        for at in range(len(scores) - 1, 0, -1):
            tags[at - 1] = back[at, tags[at]]
        return tags

    def _features(self, text: str, units: Sequence[Unit], *, learns: bool) -> Ints:
        """Numbers[P, F] of the features of each word; number 0, of no weight, stands for those that training did not show."""
        words = [text[unit.start : unit.end] for unit in units]
        rows = []
        for at in range(len(words)):
            names = list(_describe(words, at))
            if learns:
                rows.append([self._numbers.setdefault(name, len(self._numbers)) for name in names])
            else:
                rows.append([self._numbers.get(name, 0) for name in names])
        return np.array(rows, dtype=np.int64)


def _units(text: str) -> list[Unit]:
    return [Unit(start, end, number) for number, (start, end) in enumerate(find_words(text))]


def _describe(words: Sequence[str], at: int) -> Iterator[str]:
    """The features of a word, always as many."""

    def beside(step: int) -> str:
        return words[at + step] if 0 <= at + step < len(words) else "<>"

    word = words[at]
    low = word.lower()
    yield "bias"
    yield f"w={word}"
    yield f"l={low}"
    yield f"s={_shape(word)}"
    for size in (1, 2, 3):
        yield f"p{size}={low[:size]}"
        yield f"e{size}={low[-size:]}"
    for step in (-2, -1, 1, 2):
        yield f"{step}={beside(step).lower()}"
    yield f"-1s={_shape(beside(-1))}"
    yield f"+1s={_shape(beside(1))}"
    yield f"-1w={beside(-1).lower()} {low}"
    yield f"+1w={low} {beside(1).lower()}"


def _shape(word: str) -> str:
    """``Ab1-`` for ``Paris2024-``: upper, lower, digits and marks, runs taken together."""
    kinds = [
        "A" if each.isupper() else "a" if each.isalpha() else "1" if each.isdigit() else each for each in word[:20]
    ]
    return "".join(each for number, each in enumerate(kinds) if number == 0 or each != kinds[number - 1])
