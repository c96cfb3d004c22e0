"""Logistic regression over any features, for one label per row or several, and the scaling of scores to probabilities.

N rows, F features, C labels
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.evaluate.metric.base import indicators
from tunewright.types import Classified, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats, Ints

STRENGTHS = (1.0, 4.0, 16.0, 64.0)
MOST_INNER_ROWS = 4_000
TEMPERATURES = np.geomspace(0.005, 20.0, 80)


class LogisticModel:
    """L2-regularised logistic regression.

    Dense features with one label per row get one multinomial model. Sparse features, and several labels per row, get one model
    per label; for one label per row their probabilities are scaled to sum to 1, which is faster on many labels and no worse.
    A label without training rows gets probability 0 (one label per row) or its smoothed share (several).
    """

    def __init__(self, strength: float, seed: int = 0) -> None:
        """``strength`` is C, the inverse of the regularisation."""
        self._strength = strength
        self._seed = seed
        self._answers: Callable[[Any], Floats]
        self._gold: Classified

    def fit(self, features: Any, gold: Classified) -> LogisticModel:
        """Learn from features[N, F]."""
        from scipy.sparse import issparse

        self._gold = gold.take(np.arange(0))
        if isinstance(gold, Labels):
            self._answers = self._each(features, gold.chosen)
        elif issparse(features):
            each = self._each(features, indicators(gold))
            self._answers = lambda rows: _scaled_to_one(each(rows))
        else:
            self._answers = self._together(features, gold)
        return self

    def probabilities(self, features: Any) -> Floats:
        """Probabilities[N, C] for features[N, F]."""
        if features.shape[0] == 0:
            return np.zeros((0, len(self._gold.names)))
        return self._answers(features)

    def answer(self, features: Any) -> Classified:
        """The most probable label, or every label with a probability of 0.5 or more."""
        return answer_from(self._gold.names, self.probabilities(features), isinstance(self._gold, Labels))

    def _each(self, features: Any, columns: Bools) -> Callable[[Any], Floats]:
        exclusive_pair = isinstance(self._gold, Label) and columns.shape[1] == 2
        models = [
            self._one(features, column, "liblinear") for column in (columns.T[1:] if exclusive_pair else columns.T)
        ]
        exclusive = isinstance(self._gold, Label)
        absent = [float(column.sum()) / len(column) if exclusive else _smoothed(column) for column in columns.T]

        def answer(rows: Any) -> Floats:
            if exclusive_pair and models[0] is not None:
                both: Floats = models[0].predict_proba(rows)
                return both
            result = np.tile(np.array(absent), (rows.shape[0], 1))
            for column, model in enumerate([] if exclusive_pair else models):
                if model is not None:
                    result[:, column] = model.predict_proba(rows)[:, 1]
            return result

        return answer

    def _together(self, features: Any, gold: Label) -> Callable[[Any], Floats]:
        model = self._one(features, gold.chosen, "lbfgs")
        classes = np.unique(gold.chosen) if model is None else model.classes_

        def answer(rows: Any) -> Floats:
            result = np.zeros((rows.shape[0], len(gold.names)))
            result[:, classes] = 1.0 if model is None else model.predict_proba(rows)
            return result

        return answer

    def _one(self, features: Any, target: Ints | Bools, solver: str) -> Any:
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(target)) < 2:
            return None
        model = LogisticRegression(C=self._strength, solver=solver, max_iter=300, tol=1e-3, random_state=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(features, target)


def answer_from(names: tuple[str, ...], probabilities: Floats, multi_label: bool) -> Classified:
    """The most probable label, or every label with a probability of 0.5 or more."""
    if multi_label:
        return Labels(names, probabilities >= 0.5, probabilities)
    return Label(names, probabilities.argmax(axis=1).astype(np.int64), probabilities)


def choose_strength(features: Any, gold: Classified, seed: int, strengths: Sequence[float] = STRENGTHS) -> float:
    """The C with the smallest log loss on an inner fifth of the training rows (of at most 4,000).

    ``strengths`` ascend; the search ends at the first that is no better than the one before.
    """
    fitted, held_out = inner_split(gold, seed)
    if len(held_out) == 0 or len(fitted) == 0:
        return strengths[0]
    inner, outer = gold.take(fitted), gold.take(held_out)
    best, smallest = strengths[0], np.inf
    for strength in strengths:
        model = LogisticModel(strength, seed).fit(features[fitted], inner)
        loss = log_loss_of(model.probabilities(features[held_out]), outer)
        if loss >= smallest:
            break
        best, smallest = strength, loss
    return best


def inner_split(gold: Classified, seed: int) -> tuple[Ints, Ints]:
    """Row numbers to fit on and a fifth to hold out, of at most 4,000 rows; stratified where rows have one label."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(gold))[:MOST_INNER_ROWS]
    if isinstance(gold, Label):
        rows = rows[np.argsort(gold.chosen[rows], kind="stable")]
    is_held_out = np.arange(len(rows)) % 5 == 4
    return np.sort(rows[~is_held_out]), np.sort(rows[is_held_out])


def log_loss_of(probabilities: Floats, gold: Classified) -> float:
    """Mean negative log probability of what is right, in nats; of every decision where rows have several labels."""
    given = np.clip(probabilities, 1e-12, 1.0 - 1e-12)
    if isinstance(gold, Labels):
        return float(-np.log(np.where(gold.chosen, given, 1.0 - given)).mean())
    return float(-np.log(given[np.arange(len(gold)), gold.chosen]).mean())


def fit_temperature(scores: Floats, gold: Classified) -> float:
    """The temperature at which scores[N, C] have the smallest log loss (Guo et al. 2017, section 4.2), on a grid."""
    squash = squash_for(gold)
    losses = [log_loss_of(squash(scores / temperature), gold) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def squash_for(gold: Classified) -> Callable[[Floats], Floats]:
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


def _scaled_to_one(probabilities: Floats) -> Floats:
    result: Floats = probabilities / probabilities.sum(axis=1, keepdims=True)
    return result


def _smoothed(column: Bools) -> float:
    return float((column.sum() + 1) / (len(column) + 2))
