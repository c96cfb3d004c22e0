"""What ails the model, if anything (row E6): one named cause, the numbers that speak for it, and the next command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import indicators, probabilities_of
from tunewright.evaluate.score import metric_named
from tunewright.evaluate.verdict import show_difference, show_value, title_of
from tunewright.types import Cause, Classified, Diagnosis, Labels
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.types import Ints

LARGE_GAP = 0.10
SMALL_GAP = 0.05
FALL = 0.02
RISE = 0.02
CEILING = 0.97
FEW_ROWS_PER_LABEL = 50
TROUBLED_SHARE = 0.05
TROUBLED_PART_OF_ERRORS = 0.4
FEWEST_TROUBLED = 10
BEYOND_CHANCE = 1.4
"""Two weak models share errors by chance: as many as the baseline makes anyway. Wrong labels show as this many times more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What training left behind, in order of time.

    ``train_loss`` is sampled evenly over training, ``validation_metric`` holds one value per evaluation, evenly
    spaced over ``epochs``. ``kept_loss`` is the training loss over the epoch around the best evaluation, whose weights were
    kept, by tokens; None where it is not known. ``seconds_per_example`` is for one training step on one row, 0 where it is
    not known.
    """

    train_loss: Sequence[float] = ()
    validation_metric: Sequence[float] = ()
    higher_is_better: bool = True
    epochs: float = 0.0
    kept_loss: float | None = None
    seconds_per_example: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """What the diagnosis is made from; scores are in the primary metric, None where unknown.

    ``num_contradicted`` of ``num_checked`` rows were contradicted (see ``find_contradicted``), and the tuned model
    got ``num_errors`` of them wrong. ``difference`` and ``smallest_detectable`` are those of the required comparison
    that was least in its favour.
    """

    metric: str
    train_score: float | None = None
    validation_score: float | None = None
    baseline: str = ""
    baseline_score: float | None = None
    rows_per_label: Mapping[str, int] = field(default_factory=dict)
    num_checked: int = 0
    num_contradicted: int = 0
    num_errors: int = 0
    num_baseline_errors: int = 0
    outcome: str = "no evidence"
    difference: float = 0.0
    smallest_detectable: float = 0.0
    curves: Curves = field(default_factory=Curves)


def diagnose(symptoms: Symptoms, command: str, run: str = "RUN") -> Diagnosis:
    """The first cause that the symptoms show, of label trouble, under-fit, over-fit, too few rows; else fine.

    ``command`` is what repeats the run (``tunewright run RECIPE``); the next command is it with one override.
    ``run`` is the run's folder.
    """
    checks: tuple[tuple[Cause, Callable[[Symptoms], list[str]], str], ...] = (
        ("label trouble", _label_trouble, "report.rows=text"),
        ("under-fit", _under_fit, f"train.epochs={_more_epochs(symptoms)}"),
        ("too few rows", _too_few_rows, "data.path=FILE_WITH_MORE_ROWS"),
        ("over-fit", _over_fit, _restraint(symptoms)),
        ("under-fit", _no_gain, f"train.epochs={_more_epochs(symptoms)}"),
    )
    for cause, check, override in checks:
        evidence = check(symptoms)
        if evidence:
            return Diagnosis(cause, (*evidence, *_scores(symptoms)), _with(command, override))
    predict = shlex.join(["tunewright", "predict", run, "FILE", "-o", "answers.csv"])
    return Diagnosis("fine", tuple(_scores(symptoms)), predict)


def find_contradicted(systems: Sequence[Classified], gold: Classified) -> Ints:
    """The rows whose label is contradicted with confidence by every one of the systems, which were not trained on them.

    All systems give the same wrong answer, and the first one gives it a probability of at least its mean probability
    on rows that carry that label: the threshold of confident learning (Northcutt, Jiang & Chuang 2021, section 3.1).
    With several labels per row each yes-or-no decision is looked at alone; a row counts once.
    """
    first = systems[0]
    if first.probabilities is None or len(gold) == 0:
        return np.arange(0)
    probabilities, right = probabilities_of(first), indicators(gold)
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.where(right, probabilities, 0.0).sum(axis=0) / right.sum(axis=0)
        usual_absent = np.where(right, 0.0, 1.0 - probabilities).sum(axis=0) / (~right).sum(axis=0)
    answered = np.logical_and.reduce([indicators(each) for each in systems])
    sure = answered & ~right & (probabilities >= np.nan_to_num(usual, nan=2.0))
    if isinstance(gold, Labels):
        nowhere = np.logical_and.reduce([~indicators(each) for each in systems])
        sure |= nowhere & right & (1.0 - probabilities >= np.nan_to_num(usual_absent, nan=2.0))
    return np.flatnonzero(sure.any(axis=1))


def _label_trouble(symptoms: Symptoms) -> list[str]:
    share = symptoms.num_contradicted / max(1, symptoms.num_checked)
    of_errors = symptoms.num_contradicted / max(1, symptoms.num_errors)
    by_chance = symptoms.num_baseline_errors / max(1, symptoms.num_checked)
    expected = max(TROUBLED_PART_OF_ERRORS, BEYOND_CHANCE * by_chance)
    if symptoms.num_contradicted < FEWEST_TROUBLED or share < TROUBLED_SHARE or of_errors < expected:
        return []
    return [
        (
            f"{symptoms.num_contradicted:,} of {symptoms.num_checked:,} rows that were not trained on ({100 * share:.1f} %) are "
            f"contradicted with confidence by the tuned model and by {title_of(symptoms.baseline) or 'a baseline'} alike"
        ),
        (
            f"they are {100 * of_errors:.0f} % of the tuned model's {counted(symptoms.num_errors, 'error')} there; if "
            f"these had nothing to do with the labels, the baseline would share about {100 * by_chance:.0f} %"
        ),
    ]


def _under_fit(symptoms: Symptoms) -> list[str]:
    train, baseline = symptoms.train_score, symptoms.baseline_score
    if train is not None and baseline is not None and _up(symptoms, baseline - train) > 0:
        return [
            (
                f"on its own training rows the tuned model reaches {show_value(symptoms.metric, train)}, less than "
                f"{title_of(symptoms.baseline)} on rows it never saw ({show_value(symptoms.metric, baseline)})"
            )
        ]
    rise = _late_rise(symptoms.curves)
    if symptoms.outcome != "better" and rise >= RISE and _gap(symptoms) < SMALL_GAP:
        return [f"the validation metric was still rising at the end: {rise:+.3f} over the last half of training"]
    return []


def _too_few_rows(symptoms: Symptoms) -> list[str]:
    if symptoms.outcome == "better" or not symptoms.rows_per_label:
        return []
    counts = sorted(symptoms.rows_per_label.values())
    middle = counts[len(counts) // 2]
    if _gap(symptoms) >= LARGE_GAP and middle < FEW_ROWS_PER_LABEL:
        smallest = min(symptoms.rows_per_label, key=lambda label: symptoms.rows_per_label[label])
        return [
            f"half of the {len(counts)} labels have {middle:,} training rows or fewer; {smallest} has {counts[0]:,}",
            f"training rows score {_shown_gap(symptoms)} above validation rows",
        ]
    ahead, visible = _up(symptoms, symptoms.difference), symptoms.smallest_detectable
    if symptoms.outcome == "no evidence" and visible / 2 <= ahead < visible:
        metric = symptoms.metric
        return [
            (
                f"the tuned model is ahead by {show_difference(metric, abs(symptoms.difference), signed=False)}, but so few rows "
                f"show only differences of {show_difference(metric, symptoms.smallest_detectable, signed=False)} or more"
            )
        ]
    return []


def _over_fit(symptoms: Symptoms) -> list[str]:
    evidence = []
    fall = _fall(symptoms.curves)
    if fall >= FALL:
        best = _best_evaluation(symptoms.curves)
        evidence.append(
            f"the validation metric was best at evaluation {best + 1} of {len(symptoms.curves.validation_metric)} and "
            f"then fell by {fall:.3f}"
        )
    if _gap(symptoms) >= (LARGE_GAP if symptoms.outcome == "better" else SMALL_GAP):
        evidence.append(f"training rows score {_shown_gap(symptoms)} above validation rows")
    return evidence if fall >= FALL or symptoms.outcome != "better" else []


def _no_gain(symptoms: Symptoms) -> list[str]:
    if symptoms.outcome == "better" or symptoms.train_score is None or symptoms.validation_score is None:
        return []
    at_ceiling = metric_named(symptoms.metric).higher_is_better and symptoms.train_score >= CEILING
    if _gap(symptoms) >= SMALL_GAP or at_ceiling:
        return []
    return [
        (
            f"training rows score only {_shown_gap(symptoms)} above validation rows, and the tuned model is not ahead: it has "
            "learnt little beyond what the baseline knows"
        )
    ]


def _scores(symptoms: Symptoms) -> list[str]:
    parts = [
        ("training rows", symptoms.train_score),
        ("validation rows", symptoms.validation_score),
        (f"validation rows by {title_of(symptoms.baseline)}" if symptoms.baseline else "", symptoms.baseline_score),
    ]
    shown = [f"{show_value(symptoms.metric, value)} on {name}" for name, value in parts if value is not None and name]
    evidence = [f"{symptoms.metric}: {', '.join(shown)}"] if shown else []
    loss = symptoms.curves.train_loss
    if len(loss) > 1:
        evidence.append(
            f"the training loss went from {loss[0]:.3f} to {loss[-1]:.3f} in {counted(symptoms.curves.epochs, 'epoch')}"
        )
    return evidence


def _with(command: str, override: str) -> str:
    """The command with one option given, in place of what it said of that option before."""
    option = override.partition("=")[0]
    return shlex.join([*(word for word in shlex.split(command) if not word.startswith(f"{option}=")), override])


def _up(symptoms: Symptoms, difference: float) -> float:
    return difference if metric_named(symptoms.metric).higher_is_better else -difference


def _gap(symptoms: Symptoms) -> float:
    if symptoms.train_score is None or symptoms.validation_score is None:
        return 0.0
    return _up(symptoms, symptoms.train_score - symptoms.validation_score)


def _shown_gap(symptoms: Symptoms) -> str:
    unit = " points" if metric_named(symptoms.metric).is_percentage else ""
    return show_difference(symptoms.metric, _gap(symptoms), signed=False) + unit


def _oriented(curves: Curves) -> list[float]:
    return [value if curves.higher_is_better else -value for value in curves.validation_metric]


def _best_evaluation(curves: Curves) -> int:
    return int(np.argmax(_oriented(curves)))


def _fall(curves: Curves) -> float:
    """From the best evaluation to the last."""
    values = _oriented(curves)
    return max(values) - values[-1] if values else 0.0


def _late_rise(curves: Curves) -> float:
    """From the middle evaluation to the last, if the last is the best; else 0."""
    values = _oriented(curves)
    if len(values) < 2 or values[-1] < max(values):
        return 0.0
    return values[-1] - values[(len(values) - 1) // 2]


def _more_epochs(symptoms: Symptoms) -> int:
    return max(2, math.ceil(2 * symptoms.curves.epochs))


def _restraint(symptoms: Symptoms) -> str:
    """The override against over-fitting: end where validation was best, or else more weight decay."""
    curves = symptoms.curves
    num_evaluations = len(curves.validation_metric)
    if num_evaluations > 1 and _fall(curves) >= FALL:
        best = math.ceil(curves.epochs * (_best_evaluation(curves) + 1) / num_evaluations)
        if 0 < best < curves.epochs:
            return f"train.epochs={best}"
    return "train.optimizer.weight_decay=0.1"
