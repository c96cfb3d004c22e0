"""Logistic regression over any features, for one label per row or several, and the scaling of scores to probabilities.

N rows, F features, C labels
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.types import Answer, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats, Ints

STRENGTHS = (1.0, 4.0, 16.0, 64.0)
MOST_INNER_ROWS = 4_000
TEMPERATURES = np.geomspace(0.005, 20.0, 80)


class LogisticModel:
    """L2-regularised logistic regression: multinomial for one label per row, one model per label for several.

    A label without training rows gets probability 0 (one label per row) or its smoothed share (several).
    """

    def __init__(self, strength: float) -> None:
        """``strength`` is C, the inverse of the regularisation."""
        self._strength = strength
        self._models: list[Any] = []
        self._shares: list[float] = []
        self._names: tuple[str, ...] = ()
        self._multi_label = False

    def fit(self, features: Any, gold: Answer) -> LogisticModel:
        """Learn from features[N, F]."""
        self._names = gold.names
        self._multi_label = isinstance(gold, Labels)
        if isinstance(gold, Labels):
            self._models = [self._one(features, gold.chosen[:, c].astype(np.int64)) for c in range(len(gold.names))]
            self._shares = [float((column.sum() + 1) / (len(gold) + 2)) for column in gold.chosen.T]
        else:
            self._models = [self._one(features, gold.chosen)]
            self._shares = list(np.bincount(gold.chosen, minlength=len(gold.names)) / max(1, len(gold)))
        return self

    def probabilities(self, features: Any) -> Floats:
        """Probabilities[N, C] for features[N, F]."""
        num_rows = features.shape[0]
        result = np.tile(np.array(self._shares, dtype=np.float64), (num_rows, 1))
        if num_rows == 0:
            return result
        for column, model in enumerate(self._models):
            if model is None:
                continue
            if self._multi_label:
                result[:, column] = model.predict_proba(features)[:, 1]
            else:
                result[:] = 0.0
                result[:, model.classes_] = model.predict_proba(features)
        return result

    def answer(self, features: Any) -> Answer:
        """The most probable label, or every label with a probability of 0.5 or more."""
        return answer_from(self._names, self.probabilities(features), self._multi_label)

    def _one(self, features: Any, target: Ints) -> Any:
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(target)) < 2:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return LogisticRegression(C=self._strength, max_iter=200, tol=1e-3).fit(features, target)


def answer_from(names: tuple[str, ...], probabilities: Floats, multi_label: bool) -> Answer:
    """The most probable label, or every label with a probability of 0.5 or more."""
    if multi_label:
        return Labels(names, probabilities >= 0.5, probabilities)
    return Label(names, probabilities.argmax(axis=1).astype(np.int64), probabilities)


def choose_strength(features: Any, gold: Answer, seed: int, strengths: Sequence[float] = STRENGTHS) -> float:
    """The C with the smallest log loss on an inner fifth of the training rows (of at most 4,000); the first of equals."""
    fitted, held_out = inner_split(gold, seed)
    if len(held_out) == 0 or len(fitted) == 0:
        return strengths[0]
    inner, outer = gold.take(fitted), gold.take(held_out)
    losses = [
        log_loss_of(LogisticModel(each).fit(features[fitted], inner).probabilities(features[held_out]), outer)
        for each in strengths
    ]
    return strengths[int(np.argmin(losses))]


def inner_split(gold: Answer, seed: int) -> tuple[Ints, Ints]:
    """Row numbers to fit on and a fifth to hold out, of at most 4,000 rows; stratified where rows have one label."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(gold))[:MOST_INNER_ROWS]
    if isinstance(gold, Label):
        rows = rows[np.argsort(gold.chosen[rows], kind="stable")]
    is_held_out = np.arange(len(rows)) % 5 == 4
    return np.sort(rows[~is_held_out]), np.sort(rows[is_held_out])


def log_loss_of(probabilities: Floats, gold: Answer) -> float:
    """Mean negative log probability of what is right, in nats; of every decision where rows have several labels."""
    given = np.clip(probabilities, 1e-12, 1.0 - 1e-12)
    if isinstance(gold, Labels):
        return float(-np.log(np.where(gold.chosen, given, 1.0 - given)).mean())
    return float(-np.log(given[np.arange(len(gold)), gold.chosen]).mean())


def fit_temperature(scores: Floats, gold: Answer) -> float:
    """The temperature at which scores[N, C] have the smallest log loss (Guo et al. 2017, section 4.2), on a grid."""
    squash = squash_for(gold)
    losses = [log_loss_of(squash(scores / temperature), gold) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def squash_for(gold: Answer) -> Callable[[Floats], Floats]:
    """Softmax over the labels, or a sigmoid for each where rows have several."""
    return sigmoid if isinstance(gold, Labels) else softmax


def softmax(scores: Floats) -> Floats:
    """scores[N, C] -> probabilities[N, C] that sum to 1."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = raised / raised.sum(axis=1, keepdims=True)
    return result


def sigmoid(scores: Floats) -> Floats:
    """scores -> independent probabilities."""
    result: Floats = 0.5 * (1.0 + np.tanh(0.5 * scores))
    return result


def columns_of(gold: Answer) -> Bools:
    """Which labels each row has: bool[N, C]."""
    if isinstance(gold, Labels):
        return gold.chosen
    result: Bools = gold.chosen[:, np.newaxis] == np.arange(len(gold.names))
    return result
