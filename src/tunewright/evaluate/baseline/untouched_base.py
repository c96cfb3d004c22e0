"""The base as it came: the nearest class centroid on its frozen embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._embeddings import unit_rows
from tunewright.evaluate.baseline._linear import answer_from, fit_temperature, squash_for
from tunewright.evaluate.metric.base import indicators
from tunewright.evaluate.resample import sample_rows
from tunewright.seams import Encoder
from tunewright.types import Classified, Labels

if TYPE_CHECKING:
    from tunewright.types import Floats


class UntouchedBase:
    """Answers the label whose centroid is nearest by cosine, on embeddings that no training has touched.

    A centroid is the mean of the embeddings of length 1 of a label's training rows. For several labels per row, a
    label is answered where the centroid of its rows is nearer than that of the rows without it. Probabilities are the
    cosines at a temperature fitted on the training rows.
    """

    title = "the untouched base"
    needs_encoder = True

    class Config(ComponentConfig):
        """Options of the untouched base."""

        max_rows: int = Option(20_000, "At most this many training rows place the centroids.", ge=100)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the rows where there are more than ``max_rows``."""
        self._config = config or self.Config()
        self._seed = seed
        self._gold: Classified
        self._centroids: Floats
        self._opposites: Floats | None = None
        self._temperature = 1.0

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Place the centroids and fit the temperature."""
        assert encoder is not None, "the untouched base needs an encoder"
        rows = sample_rows(len(texts), self._config.max_rows, self._seed)
        gold = gold.take(rows)
        embeddings = unit_rows(encoder([texts[row] for row in rows]))
        columns = indicators(gold).astype(np.float64)
        self._gold = gold.take(np.arange(0))
        self._centroids = unit_rows(columns.T @ embeddings)
        self._opposites = unit_rows((1.0 - columns).T @ embeddings) if isinstance(gold, Labels) else None
        self._temperature = fit_temperature(self._scores(embeddings), gold)

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """The nearest label, or every label whose own centroid is the nearer one."""
        assert encoder is not None, "the untouched base needs an encoder"
        scores = np.zeros((0, len(self._gold.names))) if not texts else self._scores(unit_rows(encoder(texts)))
        probabilities = squash_for(self._gold)(scores / self._temperature)
        return answer_from(self._gold.names, probabilities, isinstance(self._gold, Labels))

    def _scores(self, embeddings: Floats) -> Floats:
        """Cosine to each centroid[N, C]; -2 for a label without rows. For several labels, minus the cosine to the rest."""
        cosines: Floats = embeddings @ self._centroids.T
        if self._opposites is not None:
            difference: Floats = cosines - embeddings @ self._opposites.T
            return difference
        cosines[:, ~self._centroids.any(axis=1)] = -2.0
        return cosines
