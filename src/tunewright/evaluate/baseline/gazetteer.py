"""The names seen in training, looked up: what a list knows without any model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

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
        self._longest = 0
        self._names: tuple[str, ...] = ()

    def fit(self, texts: Sequence[str], gold: Spans) -> None:
        """Collect the labelled stretches, and count where else they stand."""
        self._names = gold.names
        labels: dict[Words, Counter[str]] = defaultdict(Counter)
        for text, spans in zip(texts, gold.found, strict=True):
            for span in spans:
                words = tuple(
                    text[start:end] for start, end in find_words(text) if start < span.end and end > span.start
                )
                labels[words][span.label] += 1
        self._longest = max(map(len, labels), default=0)
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
        """Each stretch of words with its place, those that begin first before the others, the longest of them first."""
        places = find_words(text)
        words = [text[start:end] for start, end in places]
        for begin in range(len(words)):
            for stop in range(min(len(words), begin + self._longest), begin, -1):
                yield tuple(words[begin:stop]), places[begin][0], places[stop - 1][1]
