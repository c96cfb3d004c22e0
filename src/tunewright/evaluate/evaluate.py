"""The verb ``evaluate``: answers and gold in, a Report with its Verdict and Diagnosis out.

train       baselines are fitted
validation  the strongest baseline, the thresholds and the limit for refusing are chosen
test        the verdict; on small data all rows, out of fold, if the run can train again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.errors import InputError
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.design import (
    TUNED,
    Judged,
    Material,
    answer_validation,
    choose_design,
    judge_out_of_fold,
    judge_test,
)
from tunewright.evaluate.diagnose import Curves, Symptoms, diagnose, find_contradicted
from tunewright.evaluate.figure import draw_figures
from tunewright.evaluate.metric.base import row_hits
from tunewright.evaluate.opponents import (
    EncodeOnce,
    choose_opponents,
    fit_opponents,
    strongest_on_validation,
)
from tunewright.evaluate.out_of_fold import FitPredict
from tunewright.evaluate.resample import sample_rows
from tunewright.evaluate.score import choose_primary, fitting_metrics, measure, score, score_labels
from tunewright.evaluate.threshold import apply_thresholds
from tunewright.evaluate.verdict import UNTOUCHED_BASE, judge, show_value
from tunewright.evaluate.worst import find_worst
from tunewright.seams import Encoder
from tunewright.types import Choice, Classified, Comparison, Label, Labels, Report, Tell, Verdict, tell_nobody

if TYPE_CHECKING:
    from tunewright.types import Ints

Scores = Mapping[str, Mapping[str, float | None]]

SEEN_ROWS = 1000
"""Training rows that are answered for the diagnosis: a standard error of 1.6 points at most, in a fraction of the time."""


def evaluate(  # noqa: PLR0913 - collaborators are arguments
    config: Evaluate.Config,
    *,
    answers: Callable[[str], Classified],
    gold: Callable[[str], Classified],
    texts: Callable[[str], Sequence[str]],
    metrics: Sequence[str],
    baselines: Sequence[str],
    encoder: Encoder | None,
    seen: Callable[[Ints], Classified],
    refit: FitPredict | None = None,
    curves: Curves | None = None,
    command: str = "tunewright run RECIPE",
    run: str = "RUN",
    tell: Tell = tell_nobody,
    units: Callable[[str], Ints] | None = None,
) -> Report:
    """Judge the tuned model.

    ``gold``, ``texts`` and ``units`` take ``train``, ``validation`` or ``test``, ``answers`` one of the last two; ``seen``
    takes numbers of training rows: a sample of them tells the diagnosis how well they are known. ``refit(train_rows,
    test_rows, repeat)`` trains a fresh tuned model and answers other rows, numbered through train, validation and
    test in this order; it is only used out of fold. ``command`` repeats the run,
    ``run`` is its folder. ``metrics`` and ``baselines`` are the task's. Raises InputError for a metric or baseline that does
    not exist or fit, and where there are no rows to judge.
    """
    _require_rows(gold)
    once = EncodeOnce(encoder) if encoder is not None else None
    material = Material(
        answers=cache(answers), gold=cache(gold), texts=cache(texts), encoder=once, seen=seen, refit=refit, units=units
    )
    curves = curves or Curves()
    primary = choose_primary(config.metric, material.gold("train"))
    chosen = choose_opponents(config.baselines, baselines, encoder)
    names: Any = chosen.value
    fitted = fit_opponents(names, material.texts("train"), material.gold("train"), once, config.seed, tell)
    on_validation, thresholds, threshold_choice = answer_validation(config, material, fitted, str(primary.value))
    plan, fold_choice = choose_design(config, material, curves)
    judged = (
        judge_out_of_fold(config, material, tuple(fitted), plan, tell)
        if plan
        else judge_test(material, fitted, thresholds)
    )
    reported = fitting_metrics((str(primary.value), *metrics), judged.gold)
    tell("scores", 0, 1, "")
    systems = {name: score(answer, judged.gold, reported) for name, answer in judged.systems.items()}
    primary = _defined_primary(primary, systems, judged.gold)
    reported = fitting_metrics((str(primary.value), *reported), judged.gold)
    systems = {name: score(answer, judged.gold, reported) for name, answer in judged.systems.items()}
    validation = {name: score(answer, material.gold("validation"), reported) for name, answer in on_validation.items()}
    strongest = strongest_on_validation(tuple(fitted), validation, str(primary.value))
    verdict = _judge(config, judged, str(primary.value), strongest)
    known = _score_seen(config, material, str(primary.value), thresholds)
    symptoms = _symptoms(material, judged, verdict, validation, strongest, known, on_validation, curves)
    tuned = judged.systems[TUNED]
    report = Report(
        judged_on=judged.judged_on,
        num_rows=len(judged.gold),
        measures=measure(
            tuned, judged.gold, reported, seed=config.seed, num_resamples=config.resamples, share=judged.share
        ),
        per_label=score_labels(tuned, judged.gold),
        systems=systems,
        validation=validation,
        thresholds=thresholds.get(TUNED, {}),
        out_of_scope=judged.gold.out_of_scope if isinstance(judged.gold, Label) else None,
        verdict=verdict,
        diagnosis=diagnose(symptoms, command, run),
        figures=draw_figures(tuned, judged.gold),
        worst=find_worst(tuned, judged.gold, config.worst_rows),
        choices=(primary, chosen, _strongest_choice(strongest, validation, primary), threshold_choice, fold_choice),
    )
    tell("scores", 1, 1, "")
    return report


def _require_rows(gold: Callable[[str], Classified]) -> None:
    for split, hint in (("train", "data.path=FILE"), ("test", "data.test=0.2")):
        if len(gold(split)) == 0:
            raise InputError(
                f"there are no {split} rows", where="evaluate", given="0 rows", allowed="1 or more", hint=hint
            )


def _judge(config: Evaluate.Config, judged: Judged, metric: str, strongest: Sequence[str]) -> Verdict:
    comparisons: tuple[Comparison, ...] = compare(
        judged.systems[TUNED],
        {name: answer for name, answer in judged.systems.items() if name != TUNED},
        judged.gold,
        metric,
        {UNTOUCHED_BASE, *strongest},
        config.seed,
        num_resamples=config.resamples,
        share=judged.share,
    )
    return judge(comparisons, metric=metric, num_rows=len(judged.gold), design=judged.design, rows=judged.rows)


def _defined_primary(primary: Choice, systems: Scores, gold: Classified) -> Choice:
    """The primary metric, or the share of right rows where it is undefined for a system on the judged rows."""
    if all(numbers.get(str(primary.value)) is not None for numbers in systems.values()):
        return primary
    fallback = "subset_accuracy" if isinstance(gold, Labels) else "accuracy"
    return Choice(primary.path, fallback, f"{primary.value} is undefined on the {len(gold):,} judged rows")


def _strongest_choice(strongest: Sequence[str], validation: Scores, primary: Choice) -> Choice:
    path, metric = "evaluate.strongest_baseline", str(primary.value)
    if len(strongest) != 1:
        reason = (
            "there is no validation score to choose by: all of them have to be beaten" if strongest else "no baselines"
        )
        return Choice(path, tuple(strongest), reason)
    value = validation.get(strongest[0], {}).get(metric)
    if value is None:
        return Choice(path, strongest[0], "the only one")
    return Choice(
        path, strongest[0], f"{show_value(metric, value)} {metric} on the validation rows, the most of the baselines"
    )


def _score_seen(
    config: Evaluate.Config, material: Material, metric: str, thresholds: Mapping[str, Mapping[str, float]]
) -> float | None:
    """The tuned model's score on a sample of the rows that it was trained on."""
    gold = material.gold("train")
    sample = sample_rows(len(gold), SEEN_ROWS, config.seed)
    answers = apply_thresholds(material.seen(sample), thresholds.get(TUNED, {}))
    return score(answers, gold.take(sample), [metric])[metric]


def _symptoms(
    material: Material,
    judged: Judged,
    verdict: Verdict,
    validation: Scores,
    strongest: Sequence[str],
    known: float | None,
    on_validation: Mapping[str, Classified],
    curves: Curves,
) -> Symptoms:
    metric = verdict.metric
    gold = material.gold("train")
    unseen, unseen_gold = (judged.systems, judged.gold)
    if judged.judged_on == "test" and on_validation:
        unseen, unseen_gold = on_validation, material.gold("validation")
    witnesses = [unseen[TUNED], *(unseen[name] for name in strongest[:1])]
    contradicted = find_contradicted(witnesses, unseen_gold) if len(witnesses) > 1 else ()
    required = [each for each in verdict.comparisons if each.required]
    hardest = max(required, key=lambda each: each.p * (1 if each.difference >= 0 else -1), default=None)
    counts = np.bincount(gold.chosen, minlength=len(gold.names)) if isinstance(gold, Label) else gold.chosen.sum(axis=0)
    return Symptoms(
        metric=metric,
        train_score=known,
        validation_score=validation.get(TUNED, {}).get(metric),
        baseline=strongest[0] if strongest else "",
        baseline_score=validation.get(strongest[0], {}).get(metric) if strongest else None,
        rows_per_label={name: int(count) for name, count in zip(gold.names, counts, strict=True)},
        num_checked=len(unseen_gold),
        num_contradicted=len(contradicted),
        num_errors=int((~row_hits(unseen[TUNED], unseen_gold)).sum()),
        num_baseline_errors=int((~row_hits(witnesses[-1], unseen_gold)).sum()) if len(witnesses) > 1 else 0,
        outcome=verdict.outcome,
        difference=hardest.difference if hardest else 0.0,
        smallest_detectable=hardest.smallest_detectable if hardest else 0.0,
        curves=curves,
    )
