"""The trivial reference: always the most frequent answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.config.base import ComponentConfig
from tunewright.evaluate.metric.base import indicators
from tunewright.seams import Encoder
from tunewright.types import Classified, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats


class Majority:
    """Always answers the most frequent label (or the most frequent set of labels), with the labels' shares as probabilities."""

    title = "the most frequent label"

    class Config(ComponentConfig):
        """The majority has no options."""

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """Nothing here is random, so ``seed`` changes nothing."""
        self._shares: Floats
        self._chosen: Bools
        self._gold: Classified

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Count the training answers; of equally frequent ones the first in label order is kept."""
        columns = indicators(gold)
        self._gold = gold.take(np.arange(0))
        self._shares = columns.mean(axis=0)
        patterns, counts = np.unique(columns, axis=0, return_counts=True)
        self._chosen = patterns[::-1][int(np.argmax(counts[::-1]))]

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """The same answer for every text."""
        probabilities = np.tile(self._shares, (len(texts), 1))
        if isinstance(self._gold, Labels):
            return Labels(self._gold.names, np.tile(self._chosen, (len(texts), 1)), probabilities)
        return Label(self._gold.names, np.full(len(texts), int(self._chosen.argmax()), dtype=np.int64), probabilities)
