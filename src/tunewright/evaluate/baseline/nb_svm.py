"""NB-SVM: a linear support vector machine on naive Bayes features (Wang & Manning 2012)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.config.base import ComponentConfig, Option
from tunewright.evaluate.baseline._features import NgramCounter
from tunewright.evaluate.baseline._linear import fit_temperature, inner_split, squash_for
from tunewright.evaluate.metric.base import indicators
from tunewright.seams import Encoder
from tunewright.types import Classified, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats


class NbSvm:
    """Presence of words and word pairs, scaled by their log-count ratio, in a linear SVM; one against the rest.

    Wang & Manning 2012, sections 2.1 and 2.3: f is the binarised row, p = smoothing + sum of f over rows with the
    label, q over rows without it, r = ln((p / |p|) / (q / |q|)); the SVM (squared hinge) is trained on r * f, and its
    weights w become (1 - interpolation) * mean|w| + interpolation * w. Characters stand in for words in scripts
    without spaces. Probabilities are the scores at a temperature fitted on an inner split; they never change the
    answer.
    """

    title = "NB-SVM"

    class Config(ComponentConfig):
        """Options of NB-SVM; the defaults are the paper's."""

        smoothing: float = Option(1.0, "Added to each n-gram's count before the log-count ratio.", gt=0)
        strength: float = Option(1.0, "C of the support vector machine.", gt=0)
        interpolation: float = Option(0.25, "Weight of the SVM against naive Bayes: 1 is the SVM alone.", ge=0, le=1)

    def __init__(self, config: Config | None = None, *, seed: int = 0) -> None:
        """``seed`` orders the coordinate descent of the SVM and draws the inner split for the temperature."""
        self._config = config or self.Config()
        self._seed = seed
        self._counter = NgramCounter(binary=True)
        self._gold: Classified
        self._weights: Floats
        self._biases: Floats
        self._temperature = 1.0

    def fit(self, texts: Sequence[str], gold: Classified, encoder: Encoder | None) -> None:
        """Learn vocabulary, log-count ratios and weights from the training rows."""
        features = self._counter.fit(texts)
        self._gold = gold.take(np.arange(0))
        inner, held_out = inner_split(gold, self._seed)
        if len(inner) and len(held_out):
            self._weights, self._biases = self._train(features[inner], indicators(gold)[inner])
            self._temperature = fit_temperature(self._scores(features[held_out]), gold.take(held_out))
        self._weights, self._biases = self._train(features, indicators(gold))

    def predict(self, texts: Sequence[str], encoder: Encoder | None) -> Classified:
        """The label of the highest score, or every label with a positive score; probabilities in the same order."""
        scores = self._scores(self._counter.count(texts))
        probabilities = squash_for(self._gold)(scores / self._temperature)
        if isinstance(self._gold, Labels):
            return Labels(self._gold.names, scores >= 0, probabilities)
        return Label(self._gold.names, scores.argmax(axis=1).astype(np.int64), probabilities)

    def _scores(self, features: Any) -> Floats:
        if features.shape[0] == 0:
            return np.zeros((0, len(self._biases)))
        scores: Floats = np.asarray(features @ self._weights.T) + self._biases
        return scores

    def _train(self, features: Any, columns: Bools) -> tuple[Floats, Floats]:
        """Weights[C, V] over plain presence and biases[C]; two exclusive labels share one machine."""
        exclusive_pair = isinstance(self._gold, Label) and columns.shape[1] == 2
        trained = [self._train_one(features, column) for column in (columns.T[1:] if exclusive_pair else columns.T)]
        if exclusive_pair:
            weights, bias = trained[0]
            trained = [(-weights, -bias), (weights, bias)]
        return np.stack([weights for weights, _ in trained]), np.array([bias for _, bias in trained])

    def _train_one(self, features: Any, has_label: Bools) -> tuple[Floats, float]:
        from sklearn.svm import LinearSVC

        if has_label.all() or not has_label.any():
            return np.zeros(features.shape[1]), 10.0 if has_label.all() else -10.0
        ratio = log_count_ratio(features, has_label, self._config.smoothing)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            machine = LinearSVC(C=self._config.strength, dual=True, tol=1e-3, max_iter=300, random_state=self._seed)
            machine.fit(features.multiply(ratio).tocsr(), has_label)
        weights = machine.coef_[0]
        share = self._config.interpolation
        mixed: Floats = ratio * ((1.0 - share) * np.abs(weights).mean() + share * weights)
        return mixed, float(machine.intercept_[0]) * share


def log_count_ratio(features: Any, has_label: Bools, smoothing: float) -> Floats:
    """r[V] from binary features[N, V] and which rows have the label (Wang & Manning 2012, section 2.1)."""
    with_label = smoothing + np.asarray(features[has_label].sum(axis=0)).ravel()
    without = smoothing + np.asarray(features[~has_label].sum(axis=0)).ravel()
    ratio: Floats = np.log((with_label / with_label.sum()) / (without / without.sum()))
    return ratio
