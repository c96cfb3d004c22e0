"""The most similar training rows vote: nearest neighbours by the cosine of TF-IDF (Cover & Hart 1967)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._features import NgramCounter
from tunewright.evaluate.baseline._linear import answer_from, inner_split, log_loss_of
from tunewright.evaluate.metric.base import indicators
from tunewright.evaluate.resample import sample_rows
from tunewright.seams import Encoder
from tunewright.types import Classified, Labels

if TYPE_CHECKING:
    from tunewright.types import Floats, Ints

NEIGHBOURS = (1, 3, 7, 15, 31)
AT_ONCE = 512
"""Rows whose similarities to all training rows are held at the same time."""
SHARPNESS = 4
"""The power of a similarity, beside the largest, that is a row's vote: BANKING77 0.846, by similarity itself 0.824."""
DOUBT = 0.05
"""Weight of the labels' shares beside the votes, so that a label without a neighbour keeps a chance."""


class NearestNeighbour:
    """Votes of the k nearest training rows, the nearer the heavier; k is chosen on an inner split.

    Similar are rows by words (characters) that other training rows have, too.
    """

    title = "nearest neighbours"

    class Config(ComponentConfig):
        """Options of the nearest neighbours."""

        neighbours: int | None = Option(
            None, "k, the rows that vote; none: chosen on an inner split of the training rows.", ge=1, le=1000
        )
        max_rows: int = Option(50_000, "At most this many training rows are compared with.", ge=100)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the inner split, and the rows where there are more than ``max_rows``."""
        self._config = config or self.Config()
        self._seed = seed
        self._counter = NgramCounter(words=(1, 1), characters=(1, 2))
        self._weigh: Any = None
        self._rows: Any = None
        self._kept: Ints
        self._gold: Classified
        self._number = 1

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Remember the training rows, and choose how many of them vote."""
        from sklearn.feature_extraction.text import TfidfTransformer

        chosen = sample_rows(len(texts), self._config.max_rows, self._seed)
        self._weigh = TfidfTransformer(sublinear_tf=True)
        counts = self._counter.fit([texts[row] for row in chosen]).tocsc()
        again = np.diff(counts.indptr) > 1
        self._kept = np.flatnonzero(again if again.any() else ~again)
        self._rows = self._weigh.fit_transform(counts[:, self._kept]).tocsr()
        self._gold = gold.take(chosen)
        self._number = self._config.neighbours or self._choose()

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Answers with probabilities."""
        counts = self._counter.count(texts).tocsc()[:, self._kept] if texts else None
        rows = self._rows[:0] if counts is None else self._weigh.transform(counts).tocsr()
        probabilities = self._votes(rows, self._rows, self._gold, self._number)
        return answer_from(self._gold.names, probabilities, isinstance(self._gold, Labels))

    def _choose(self) -> int:
        """The k with the smallest log loss on a fifth of the training rows."""
        fitted, held_out = inner_split(self._gold, self._seed)
        if len(held_out) == 0 or len(fitted) == 0:
            return NEIGHBOURS[0]
        inner, outer = self._gold.take(fitted), self._gold.take(held_out)
        losses = [
            log_loss_of(self._votes(self._rows[held_out], self._rows[fitted], inner, number), outer)
            for number in NEIGHBOURS
        ]
        return NEIGHBOURS[int(np.argmin(losses))]

    def _votes(self, asked: Any, known: Any, gold: Classified, number: int) -> Floats:
        """Probabilities[N, C] of the asked rows."""
        votes = indicators(gold).astype(np.float64)
        shares = votes.mean(axis=0)
        number = min(number, known.shape[0])
        parts = [np.zeros((0, votes.shape[1]))]
        for start in range(0, asked.shape[0], AT_ONCE):
            similar = (asked[start : start + AT_ONCE] @ known.T).toarray()
            nearest = np.argpartition(-similar, number - 1, axis=1)[:, :number]
            weights = np.take_along_axis(similar, nearest, axis=1)
            weights = (weights / np.maximum(weights.max(axis=1, keepdims=True), 1e-9)) ** SHARPNESS
            summed = np.einsum("nk,nkc->nc", weights, votes[nearest])
            parts.append((summed + DOUBT * shares) / (weights.sum(axis=1, keepdims=True) + DOUBT))
        return np.concatenate(parts)
