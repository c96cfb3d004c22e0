"""The first sentences of the source: what every summary of news has to beat (Nallapati et al. 2017, section 4.2, Lead-3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.metric._rouge import of_subsequence, words

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")
MOST_SENTENCES = 5
MOST_ROWS = 500


class Lead:
    """Copies the first sentences of the source, as many as agree best with the training targets."""

    title = "the first sentences of the source"
    answers = "text"

    class Config(ComponentConfig):
        """Options of the first sentences."""

        sentences: int | None = Option(None, "How many; empty: as many as agree best with training targets.", ge=1)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """Nothing here is random, so ``seed`` changes nothing."""
        self._number = (config or self.Config()).sentences or 0

    def fit(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Choose the number of sentences by ROUGE-L on at most 500 training rows."""
        if self._number or not sources:
            self._number = self._number or 1
            return
        every = max(1, len(sources) // MOST_ROWS)
        pairs = list(zip(sources[::every], targets[::every], strict=True))
        means = [
            np.mean([of_subsequence(words(first_sentences(source, number)), words(target)) for source, target in pairs])
            for number in range(1, MOST_SENTENCES + 1)
        ]
        self._number = int(np.argmax(means)) + 1

    def predict(self, sources: Sequence[str]) -> list[str]:
        """The beginning of each source."""
        return [first_sentences(source, self._number) for source in sources]


def first_sentences(text: str, number: int) -> str:
    """The first sentences of a text, as they stand there."""
    ends = [match.start() for match in _END.finditer(text.strip())]
    return text.strip()[: ends[number - 1]] if len(ends) >= number else text.strip()
