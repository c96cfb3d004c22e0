"""The names seen in training, looked up: what a list knows without any model."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tunewright.config.base import ComponentConfig, Option
from tunewright.infer.words import find_words
from tunewright.types import Span, Spans

Words = tuple[str, ...]


class Gazetteer:
    """Marks every stretch of words that was labelled in training in at least a share of the places where it stood there.

    The longest stretch wins, from left to right (Mikheev, Moens & Grover 1999, section 5: lists of names).
    """

    title = "a list of the names seen in training"
    answers = "spans"

    class Config(ComponentConfig):
        """Options of the list."""

        share: float = Option(0.5, "Share of its places in training in which a name has to be labelled.", gt=0, le=1)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """Nothing here is random, so ``seed`` changes nothing."""
        self.config = config or self.Config()
        self._label: dict[Words, str] = {}
        self._lengths: dict[str, list[int]] = {}
        self._names: tuple[str, ...] = ()

    def fit(self, texts: Sequence[str], gold: Spans) -> None:
        """Collect the labelled stretches, and count where else they stand."""
        self._names = gold.names
        labels: dict[Words, Counter[str]] = defaultdict(Counter)
        for text, spans in zip(texts, gold.found, strict=True):
            words_of = find_words(text)
            starts, ends = [start for start, _ in words_of], [end for _, end in words_of]
            for span in spans:
                inside = words_of[bisect_right(ends, span.start) : bisect_left(starts, span.end)]
                labels[tuple(text[start:end] for start, end in inside)][span.label] += 1
        self._lengths = {first: sorted(sizes, reverse=True) for first, sizes in _sizes(labels).items()}
        places: Counter[Words] = Counter(
            words for text in texts for words, _, _ in self._stretches(text) if words in labels
        )
        self._label = {
            words: label
            for words, counts in labels.items()
            for label, count in counts.most_common(1)
            if count >= self.config.share * places[words]
        }

    def predict(self, texts: Sequence[str]) -> Spans:
        """The known names in each text."""
        return Spans(self._names, tuple(tuple(self._found(text)) for text in texts))

    def _found(self, text: str) -> Iterator[Span]:
        end = 0
        for words, start, stop in self._stretches(text):
            if start >= end and words in self._label:
                yield Span(start, stop, self._label[words])
                end = stop

    def _stretches(self, text: str) -> Iterator[tuple[Words, int, int]]:
        """Each stretch that may be a name, with its place: in order of their beginnings, the longest first."""
        places = find_words(text)
        words = [text[start:end] for start, end in places]
        for begin in range(len(words)):
            for size in self._lengths.get(words[begin], ()):
                if begin + size <= len(words):
                    yield tuple(words[begin : begin + size]), places[begin][0], places[begin + size - 1][1]


def _sizes(names: Iterable[Words]) -> dict[str, set[int]]:
    """First word -> how many words the names have that begin with it."""
    found: dict[str, set[int]] = defaultdict(set)
    for words in names:
        if words:
            found[words[0]].add(len(words))
    return found
