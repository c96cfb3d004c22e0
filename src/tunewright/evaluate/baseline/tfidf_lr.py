"""The classical reference: TF-IDF weighted n-grams and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._features import NgramCounter
from tunewright.evaluate.baseline._linear import LogisticModel, choose_strength
from tunewright.seams import Encoder
from tunewright.types import Classified


class TfidfLr:
    """Logistic regression on TF-IDF of words and word pairs; of one to three characters in scripts without spaces.

    Term frequency is dampened, 1 + ln(tf), inverse document frequency smoothed, rows of length 1 (Manning, Raghavan &
    Schütze 2008, section 6.4).
    """

    title = "TF-IDF + logistic regression"

    class Config(ComponentConfig):
        """Options of TF-IDF + logistic regression."""

        strength: float | None = Option(
            None, "C, the inverse of the L2 regularisation; none: chosen on an inner split of the training rows.", gt=0
        )

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` draws the inner split on which C is chosen."""
        self._config = config or self.Config()
        self._seed = seed
        self._counter = NgramCounter()
        self._weigh: Any = None
        self._model: LogisticModel

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn vocabulary, document frequencies and weights from the training rows."""
        from sklearn.feature_extraction.text import TfidfTransformer

        self._weigh = TfidfTransformer(sublinear_tf=True)
        features = self._weigh.fit_transform(self._counter.fit(texts))
        strength = self._config.strength or choose_strength(features, gold, self._seed)
        self._model = LogisticModel(strength, self._seed).fit(features, gold)

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """Answers with probabilities."""
        return self._model.answer(self._weigh.transform(self._counter.count(texts)))
