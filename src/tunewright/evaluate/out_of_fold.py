"""Judging small data: every row is answered by models that were trained without it.

    all rows ─▶ folds ─▶ train on the others, answer the fold ─▶ once per repeat ─▶ probabilities averaged per row

The rows of one fold are answered by one model, and the models of different folds share most of their training rows,
so the answers are less independent than those on a held-out split. ``FoldPlan.share`` corrects for that, to the
cautious side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tunewright.types import Classified, Label, Labels, Tell, tell_nobody

if TYPE_CHECKING:
    from tunewright.types import Floats, Ints

FOLD_NUMBERS = (5, 3, 2)
MOST_REPEATS = 10
ANSWERING_COST = 1 / 3
"""Answering a row costs about a third of a training step on it: one forward pass of forward and twice backward."""

FitPredict = Callable[["Ints", "Ints", int], Classified]
"""``(train_rows, test_rows, repeat)`` -> the answers on test_rows of a fresh model trained on train_rows."""


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """How many folds, how often, and why. ``folds`` is 0 where not even two folds fit the time."""

    folds: int
    repeats: int
    reason: str

    @property
    def share(self) -> float:
        """What share of an independent row each row counts: 1 / (1 + k / (k - 1)), or 0.44 for five folds.

        Nadeau & Bengio 2003 (section 3.4, their corrected resampled t-test) replace the variance s^2 / J of a mean
        over J test sets by s^2 (1 / J + test rows / training rows). With k folds, J = k, the ratio is 1 / (k - 1):
        the variance grows by 1 + k / (k - 1). Repeats would shrink the first part (Bouckaert & Frank 2004); it is
        left as it is for one repeat.
        """
        return 1.0 / (1.0 + self.folds / (self.folds - 1)) if self.folds > 1 else 1.0

    @property
    def design(self) -> str:
        """The design and its caveat, for the report."""
        times = "once" if self.repeats == 1 else f"{self.repeats} times, probabilities averaged"
        return (
            f"{self.folds}-fold out-of-fold, {times}: every row is answered by models trained without it. The models share "
            f"training rows, so rows are not fully independent; each is counted as {self.share:.2f} of a row "
            "(variance corrected after Nadeau & Bengio 2003)."
        )


def plan_folds(num_rows: int, seconds_per_example: float, epochs: float, budget_seconds: float) -> FoldPlan:
    """The most folds of 5, 3, 2 of which one round fits the time, then as many repeats (up to 10) as fit.

    One round of k folds trains on (k - 1) * N rows for ``epochs`` and answers N. ``seconds_per_example`` is for one
    training step on one row.
    """
    for folds in FOLD_NUMBERS:
        seconds = seconds_per_example * num_rows * ((folds - 1) * epochs + ANSWERING_COST)
        if num_rows >= 2 * folds and seconds <= budget_seconds:
            if seconds <= 0:
                return FoldPlan(folds, 1, f"{num_rows:,} rows are few; once, as the time it takes is not known")
            repeats = max(1, min(MOST_REPEATS, int(budget_seconds / seconds)))
            reason = f"{num_rows:,} rows are few; {folds} folds take about {seconds:.0f} s and {repeats} x fit"
            return FoldPlan(folds, repeats, f"{reason} {budget_seconds:.0f} s")
    return FoldPlan(0, 0, f"even two folds over {num_rows:,} rows would take longer than {budget_seconds:.0f} s")


def make_folds(gold: Classified, folds: int, seed: int, units: Ints | None = None) -> Ints:
    """The fold[N] of each row: labels in proportion, rows of one unit together.

    Units are taken in random order within their stratum (the label of their first row; for several labels per row the
    rarest of them) and each goes to the fold that has the fewest rows of the stratum so far, then the fewest rows.
    """
    strata = _strata(gold)
    unit_of = np.arange(len(gold)) if units is None else np.unique(units, return_inverse=True)[1]
    num_units = int(unit_of.max()) + 1
    first_row = np.full(num_units, len(gold))
    np.minimum.at(first_row, unit_of, np.arange(len(gold)))
    sizes = np.bincount(unit_of, minlength=num_units)
    shuffled = np.random.default_rng(seed).permutation(num_units)
    order = shuffled[np.argsort(strata[first_row[shuffled]], kind="stable")]
    fold_of_unit = np.zeros(num_units, dtype=np.int64)
    rows_in = np.zeros(folds, dtype=np.int64)
    rows_of_stratum: dict[int, Ints] = {}
    for unit in order:
        inside = rows_of_stratum.setdefault(int(strata[first_row[unit]]), np.zeros(folds, dtype=np.int64))
        fold = int(np.lexsort((rows_in, inside))[0])
        fold_of_unit[unit] = fold
        inside[fold] += sizes[unit]
        rows_in[fold] += sizes[unit]
    return fold_of_unit[unit_of]


def out_of_fold(
    fit_predict: FitPredict,
    gold: Classified,
    plan: FoldPlan,
    *,
    seed: int,
    units: Ints | None = None,
    tell: Tell = tell_nobody,
    label: str = "out-of-fold",
) -> Classified:
    """Answers for all rows in order, each by models trained without it; probabilities[N, C] are means over the repeats.

    One label: the one of the highest mean probability. Several: those that were chosen in more than half of the
    repeats. Answers without probabilities count as certain.
    """
    assert plan.folds > 1, plan
    probabilities = np.zeros((len(gold), len(gold.names)))
    votes = np.zeros_like(probabilities)
    for repeat in range(plan.repeats):
        fold_of = make_folds(gold, plan.folds, seed + repeat, units)
        for fold in range(plan.folds):
            tell(label, repeat * plan.folds + fold, plan.folds * plan.repeats, f"repeat {repeat + 1}, fold {fold + 1}")
            rows = np.flatnonzero(fold_of == fold)
            if len(rows) == 0:
                continue
            answer = fit_predict(np.flatnonzero(fold_of != fold), rows, repeat)
            chosen = _one_hot(answer)
            votes[rows] += chosen
            probabilities[rows] += chosen if answer.probabilities is None else answer.probabilities
    tell(label, plan.folds * plan.repeats, plan.folds * plan.repeats, "")
    return _settled(gold, probabilities / plan.repeats, votes / plan.repeats)


def _settled(gold: Classified, probabilities: Floats, votes: Floats) -> Classified:
    if isinstance(gold, Labels):
        return Labels(gold.names, (votes > 0.5) | ((votes == 0.5) & (probabilities >= 0.5)), probabilities)
    return replace(gold, chosen=probabilities.argmax(axis=1).astype(np.int64), probabilities=probabilities)


def _one_hot(answer: Classified) -> Floats:
    if isinstance(answer, Labels):
        return answer.chosen.astype(np.float64)
    result: Floats = (answer.chosen[:, np.newaxis] == np.arange(len(answer.names))).astype(np.float64)
    return result


def _strata(gold: Classified) -> Ints:
    if isinstance(gold, Label):
        return gold.chosen
    counts = gold.chosen.sum(axis=0)
    rarest = np.where(gold.chosen, counts, np.iinfo(np.int64).max).argmin(axis=1)
    return np.where(gold.chosen.any(axis=1), rarest, -1)
