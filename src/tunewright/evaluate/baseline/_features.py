"""Counts of words or characters as a sparse matrix, the same way for every classical baseline.

N texts, V n-grams
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

MANY_TEXTS = 20_000
LARGEST_VOCABULARY = 300_000
SAMPLE = 2_000
WORD = r"\w+(?:['’]\w+)?|[^\w\s]"
"""A token is a word with its apostrophe, or one punctuation mark; single letters and emoticons carry sentiment too."""

UNSEGMENTED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Scripts written without spaces: Thai and Lao, Burmese, Khmer, kana, Han with its extensions."""


class NgramCounter:
    """Counts word n-grams, or character n-grams where the texts are largely in a script without spaces."""

    def __init__(
        self, words: tuple[int, int] = (1, 2), characters: tuple[int, int] = (1, 3), binary: bool = False
    ) -> None:
        """Shortest and longest n-gram of each kind; ``binary`` counts presence only."""
        self._words = words
        self._characters = characters
        self._binary = binary
        self._counter: Any = None
        self.by_characters = False

    def fit(self, texts: Sequence[str]) -> Any:
        """Learn the vocabulary; sparse counts[N, V] of these texts."""
        from sklearn.feature_extraction.text import CountVectorizer

        self.by_characters = is_unsegmented(texts)
        self._counter = CountVectorizer(
            preprocessor=normalise,
            token_pattern=None if self.by_characters else WORD,
            analyzer="char" if self.by_characters else "word",
            ngram_range=self._characters if self.by_characters else self._words,
            min_df=2 if len(texts) > MANY_TEXTS else 1,
            max_features=LARGEST_VOCABULARY,
            binary=self._binary,
        )
        return self._counter.fit_transform(texts).astype(float)

    def count(self, texts: Sequence[str]) -> Any:
        """Sparse counts[N, V] of other texts over the learnt vocabulary."""
        return self._counter.transform(texts).astype(float)


def normalise(text: str) -> str:
    """Full-width forms folded (NFKC) and case folded; a blank text becomes one mark, so that a vocabulary is never empty."""
    return unicodedata.normalize("NFKC", text).casefold().strip() or "∅"


def is_unsegmented(texts: Sequence[str]) -> bool:
    """Whether over 30 % of the letters are of a script without spaces, in up to 2,000 texts spread evenly."""
    letters = unsegmented = 0
    for text in texts[:: max(1, len(texts) // SAMPLE)]:
        for character in text[:1000]:
            if character.isalpha():
                letters += 1
                unsegmented += character > "\u0dff" and _stands_alone(ord(character))
    return unsegmented > 0.3 * letters


def _stands_alone(code: int) -> bool:
    return any(first <= code <= last for first, last in UNSEGMENTED)
