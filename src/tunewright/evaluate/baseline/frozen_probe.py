"""A probe: logistic regression on the frozen embeddings of the untouched base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._linear import LogisticModel, choose_strength
from tunewright.evaluate.resample import sample_rows
from tunewright.seams import Encoder
from tunewright.types import Classified

if TYPE_CHECKING:
    from tunewright.types import Floats


class FrozenProbe:
    """Logistic regression on standardised frozen embeddings: what the base knows without being tuned (Alain & Bengio 2017)."""

    title = "a probe on the frozen base"
    needs_encoder = True

    class Config(ComponentConfig):
        """Options of the frozen probe."""

        max_rows: int = Option(20_000, "At most this many training rows are used.", ge=100)
        strength: float | None = Option(
            None, "C, the inverse of the L2 regularisation; none: chosen on an inner split of the training rows.", gt=0
        )

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the inner split, and the rows where there are more than ``max_rows``."""
        self._config = config or self.Config()
        self._seed = seed
        self._centre: Floats
        self._scale: Floats
        self._model: LogisticModel

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn scale and weights from the training rows."""
        assert encoder is not None, "the frozen probe needs an encoder"
        rows = sample_rows(len(texts), self._config.max_rows, self._seed)
        gold = gold.take(rows)
        embeddings = encoder([texts[row] for row in rows])
        self._centre = embeddings.mean(axis=0)
        spread = embeddings.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        features = (embeddings - self._centre) / self._scale
        strength = self._config.strength or choose_strength(features, gold, self._seed, (0.003, 0.03, 0.3, 3.0))
        self._model = LogisticModel(strength, self._seed).fit(features, gold)

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Answers with probabilities."""
        assert encoder is not None, "the frozen probe needs an encoder"
        width = len(self._centre)
        embeddings = encoder(texts) if texts else np.zeros((0, width))
        return self._model.answer((embeddings - self._centre) / self._scale)
