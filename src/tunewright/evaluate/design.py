"""Which rows are judged, and every system's answers on them: a held-out split, or all rows out of fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.opponents import refit_opponent
from tunewright.evaluate.out_of_fold import FitPredict, FoldPlan, make_folds, out_of_fold, plan_folds
from tunewright.evaluate.threshold import apply_thresholds, choose_thresholds
from tunewright.seams import Baseline, Encoder
from tunewright.types import SPLITS, Choice, Classified, Label, Tell

if TYPE_CHECKING:
    from tunewright.evaluate.config import Evaluate
    from tunewright.types import Ints

TUNED = "tuned"
Thresholds = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The rows of the verdict: every system's answers on them, and the design they came from."""

    judged_on: Literal["test", "out-of-fold"]
    gold: Classified
    systems: Mapping[str, Classified]
    design: str
    rows: str
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What an evaluation works with; answers, gold and texts are asked for once per split."""

    answers: Callable[[str], Classified]
    gold: Callable[[str], Classified]
    texts: Callable[[str], Sequence[str]]
    encoder: Encoder | None
    seen: Callable[[Ints], Classified]
    refit: FitPredict | None
    units: Callable[[str], Ints] | None

    def all_answers(self, split: str, fitted: Mapping[str, Baseline]) -> dict[str, Classified]:
        """Every system's answers on a split; each knows the label for what is out of scope that the gold knows."""
        answers = {TUNED: self.answers(split)}
        for name, baseline in fitted.items():
            answer, gold = baseline.predict(self.texts(split), self.encoder), self.gold(split)
            if isinstance(answer, Label) and isinstance(gold, Label):
                answer = replace(answer, out_of_scope=gold.out_of_scope)
            answers[name] = answer
        return answers


def answer_validation(
    config: Evaluate.Config, material: Material, fitted: Mapping[str, Baseline], primary: str
) -> tuple[dict[str, Classified], dict[str, dict[str, float]], Choice]:
    """Every system's validation answers with its own thresholds, those thresholds, and the choice for the tuned model."""
    path = "evaluate.decision_thresholds"
    gold = material.gold("validation")
    if len(gold) == 0:
        return {}, {}, Choice(path, "none", "there are no validation rows to choose them on")
    answers = material.all_answers("validation", fitted)
    if config.thresholds == "off":
        return answers, {}, Choice(path, "none", "switched off")
    chosen = {name: choose_thresholds(answer, gold, primary, config.refuse_share) for name, answer in answers.items()}
    thresholds = {name: limits for name, (limits, _) in chosen.items()}
    applied = {name: apply_thresholds(answer, thresholds[name]) for name, answer in answers.items()}
    return applied, thresholds, chosen[TUNED][1]


def choose_design(config: Evaluate.Config, material: Material, curves: Curves) -> tuple[FoldPlan | None, Choice]:
    """The plan to judge out of fold, or None for the held-out test split; and why."""
    path = "evaluate.out_of_fold"
    num_rows = sum(len(material.gold(split)) for split in SPLITS)
    if config.out_of_fold is False:
        return None, Choice(path, False, "switched off")
    if config.out_of_fold == "auto" and num_rows >= config.out_of_fold_rows:
        return None, Choice(path, False, f"{num_rows:,} rows are enough for a held-out split")
    if material.refit is None:
        return None, Choice(path, False, f"{num_rows:,} rows are few, but a model cannot be trained again here")
    plan = plan_folds(num_rows, curves.seconds_per_example, max(1.0, curves.epochs), config.out_of_fold_seconds)
    return (plan if plan.folds else None), Choice(path, plan.folds > 0, plan.reason)


def judge_test(
    material: Material, fitted: Mapping[str, Baseline], thresholds: Mapping[str, Mapping[str, float]]
) -> Judged:
    """Every system's answers on the held-out test split, each with its own thresholds from validation."""
    answers, gold = material.all_answers("test", fitted), material.gold("test")
    return Judged(
        judged_on="test",
        gold=gold,
        systems={name: apply_thresholds(answer, thresholds.get(name, {})) for name, answer in answers.items()},
        design=f"{len(gold):,} held-out test rows, the same for every system; the strongest baseline and all thresholds were "
        f"chosen on {len(material.gold('validation')):,} validation rows.",
        rows="held-out rows",
    )


def judge_out_of_fold(
    config: Evaluate.Config, material: Material, names: Sequence[str], plan: FoldPlan, tell: Tell
) -> Judged:
    """Every system's answers on all rows by the same folds, each row by models trained without it.

    What is refused is decided with a limit that was chosen on the rows of the other folds.
    """
    gold = _joined([material.gold(split) for split in SPLITS])
    texts = [text for split in SPLITS for text in material.texts(split)]
    units = None if material.units is None else np.concatenate([material.units(split) for split in SPLITS])
    assert material.refit is not None
    systems: dict[str, FitPredict] = {TUNED: material.refit}
    systems |= {name: refit_opponent(name, texts, gold, material.encoder, config.seed) for name in names}
    answers = {
        name: out_of_fold(each, gold, plan, seed=config.seed, units=units, tell=tell, label=f"out-of-fold: {name}")
        for name, each in systems.items()
    }
    limits = "no thresholds are used"
    if isinstance(gold, Label) and gold.out_of_scope is not None and config.thresholds != "off":
        fold_of = make_folds(gold, plan.folds, config.seed, units)
        answers = {name: _refused_by_fold(answer, gold, fold_of, config) for name, answer in answers.items()}
        limits = "the limit for refusing was chosen for each fold on the rows of the others"
    return Judged(
        judged_on="out-of-fold",
        gold=gold,
        systems=answers,
        design=f"{plan.design} The strongest baseline was chosen on the validation split; {limits}.",
        rows="out-of-fold rows",
        share=plan.share,
    )


def _refused_by_fold(answer: Classified, gold: Label, fold_of: Ints, config: Evaluate.Config) -> Classified:
    """The answer with its limit, for the rows of each of ``fold_of``[N] the one that the other rows give."""
    chosen: Any = answer.chosen.copy()
    for fold in np.unique(fold_of):
        others, rows = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        limits, _ = choose_thresholds(answer.take(others), gold.take(others), "accuracy", config.refuse_share)
        chosen[rows] = apply_thresholds(answer.take(rows), limits).chosen
    return replace(answer, chosen=chosen)


def _joined(answers: Sequence[Classified]) -> Classified:
    chosen: Any = np.concatenate([answer.chosen for answer in answers])
    return replace(answers[0], chosen=chosen)
