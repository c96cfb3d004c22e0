"""The verb ``evaluate_preferences``: leads of better answers in, a Report with its Verdict and Diagnosis out.

train       baselines are fitted
validation  the strongest baseline is chosen
test        the verdict: which of two answers leads, and a sample of answers of its own, which have to pass the checks of text

The tuned model prefers by its implicit reward, the untouched base by the likelihood of an answer by token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunewright.errors import InputError
from tunewright.evaluate.checks import check_answers, name_checks
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves, Symptoms, diagnose
from tunewright.evaluate.figure_text import draw_text
from tunewright.evaluate.opponents import describe_strongest, strongest_on_validation
from tunewright.evaluate.resample import sample_rows
from tunewright.evaluate.retention import LANGUAGES, check_retention
from tunewright.evaluate.score import choose_primary, fitting_metrics, measure, score
from tunewright.evaluate.verdict import UNTOUCHED_BASE, judge
from tunewright.types import (
    AnsweredRow,
    Cause,
    Check,
    Diagnosis,
    Preferred,
    Report,
    Retention,
    Tell,
    Text,
    Verdict,
    tell_nobody,
)

if TYPE_CHECKING:
    from tunewright.types import Ints

TUNED, PRIMARY = "tuned", "preference_accuracy"
NUM_SHOWN = 20


def evaluate_preferences(  # noqa: PLR0913 - collaborators are arguments
    config: Evaluate.Config,
    *,
    systems: Mapping[str, Callable[[str], Preferred]],
    written: Mapping[str, Callable[[Ints], Text]],
    gold: Callable[[str], Preferred],
    references: Text,
    prompts: Sequence[str],
    metrics: Sequence[str],
    curves: Curves | None = None,
    command: str = "tunewright run RECIPE",
    run: str = "RUN",
    tell: Tell = tell_nobody,
    retention: Callable[[str], Retention | None] | None = None,
) -> Report:
    """Judge the tuned model.

    ``systems`` holds ``tuned``, ``untouched_base`` and baselines: what leads in the rows of a split; ``written`` answers of the
    first two to some test rows, ``references`` the better answers to all of them. Raises InputError where there are no rows.
    """
    rows = {split: gold(split) for split in ("train", "validation", "test")}
    _check(config, rows)
    primary = choose_primary(config.metric, rows["train"])
    metric = str(primary.value)
    reported = fitting_metrics((metric, *metrics), rows["test"])
    found = {
        split: {name: ask(split) for name, ask in systems.items()} if len(rows[split]) else {}
        for split in ("validation", "test")
    }
    scored = {
        split: {
            name: score(answer, rows[split], reported if name == TUNED else [metric]) for name, answer in each.items()
        }
        for split, each in found.items()
    }
    asked = sample_rows(len(references), config.generated_rows, config.seed)
    said = {name: write(asked) for name, write in written.items()} if len(asked) else {}
    right = references.take(asked)
    generated = fitting_metrics(metrics, references)
    for name, answer in said.items():
        scored["test"][name] |= score(answer, right, generated)
    tell("scores", 0, 1, "")
    strongest = strongest_on_validation([name for name in systems if name != TUNED], scored["validation"], metric)
    others = {name: answer for name, answer in found["test"].items() if name != TUNED}
    comparisons = compare(
        found["test"][TUNED], others, rows["test"], metric, {UNTOUCHED_BASE, *strongest}, config.seed,
        num_resamples=config.resamples,
    )  # fmt: skip
    retained = {language: one for language in LANGUAGES if retention and (one := retention(language)) is not None}
    checks, is_behind = check_answers(config, said.get(TUNED), said.get(UNTOUCHED_BASE), right)
    checks += check_retention(retained, config.retention_limit)
    design = (
        f"{len(rows['test']):,} held-out test pairs, the same for every system; the strongest baseline was chosen on "
        f"{len(rows['validation']):,} validation pairs. {len(asked):,} test prompts were answered."
    )
    verdict = _with_checks(
        judge(comparisons, metric=metric, num_rows=len(rows["test"]), design=design, rows="held-out pairs"),
        checks,
        is_behind=is_behind,
    )
    symptoms = _symptoms(metric, verdict, scored["validation"], strongest, curves or Curves())
    drawn = {"seed": config.seed, "num_resamples": config.resamples}
    tell("scores", 1, 1, "")
    return Report(
        judged_on="test",
        num_rows=len(rows["test"]),
        measures=measure(found["test"][TUNED], rows["test"], reported, **drawn)
        + (measure(said[TUNED], right, generated, **drawn) if TUNED in said else ()),
        per_label={},
        systems=scored["test"],
        validation=scored["validation"],
        thresholds={},
        verdict=verdict,
        diagnosis=_diagnosed(symptoms, checks, command, run),
        figures=draw_text({}, UNTOUCHED_BASE, {"reference": right, **said} if said else {}, retained),
        worst=(),
        choices=(primary, describe_strongest(strongest, scored["validation"], metric)),
        answered=_answered(asked, prompts, right, said),
    )


def _check(config: Evaluate.Config, rows: Mapping[str, Preferred]) -> None:
    for split, hint in (("train", "data.path=FILE"), ("test", "data.test=0.2")):
        if not len(rows[split]):
            problem = f"there are no {split} rows"
            raise InputError(problem, where="evaluate", given="0 rows", allowed="1 or more", hint=hint)
    if config.metric not in ("auto", PRIMARY):
        raise InputError(
            "this metric has other units for other systems, and cannot decide between them",
            where="evaluate.metric",
            given=config.metric,
            allowed=PRIMARY,
            hint="evaluate.metric=auto",
        )


def _with_checks(verdict: Verdict, checks: Sequence[Check], *, is_behind: bool) -> Verdict:
    """The verdict on what leads, together with the checks of what is written."""
    failed = [check for check in checks if not check.passed]
    told = f"its own answers pass all {len(checks)} checks"
    outcome = verdict.outcome
    if failed:
        told = f"what it generates fails {name_checks(failed)}"
        outcome = "no evidence" if outcome == "better" else outcome
    if is_behind:
        outcome = "worse"
    rest = verdict.sentence.partition(": ")[2].removesuffix(".")
    sentence = f"{outcome.capitalize()}: {rest}; {told}."
    return replace(verdict, outcome=outcome, sentence=sentence, checks=tuple(checks))


CAUSES: Mapping[str, Cause] = {
    "stop_rate": "does not stop", "repetition": "repeats itself", "retention_en": "forgot too much",
    "retention_zh": "forgot too much",
}  # fmt: skip
"""A failed check of what is written -> what ails the model; any other means that it went too far from its base, too."""

NEARER = "task=prefer task.beta=0.5"


def _diagnosed(symptoms: Symptoms, checks: Sequence[Check], command: str, run: str) -> Diagnosis:
    """What the preferences show; where they show nothing wrong, what its own answers do."""
    found = diagnose(symptoms, command, run)
    failed = [check for check in checks if not check.passed]
    if found.cause != "fine" or not failed:
        return found
    cause: Cause = next((CAUSES[check.name] for check in failed if check.name in CAUSES), "over-fit")
    told = f"its own answers fail {name_checks(failed)}: more of task.beta keeps it nearer to its base"
    return Diagnosis(cause, (told, *found.evidence), f"{command} {NEARER}")


def _symptoms(
    metric: str,
    verdict: Verdict,
    validation: Mapping[str, Mapping[str, float | None]],
    strongest: Sequence[str],
    curves: Curves,
) -> Symptoms:
    required = [each for each in verdict.comparisons if each.required]
    hardest = max(required, key=lambda each: each.p * (1 if each.difference >= 0 else -1), default=None)
    return Symptoms(
        metric=metric,
        validation_score=validation.get(TUNED, {}).get(metric),
        baseline=strongest[0] if strongest else "",
        baseline_score=validation.get(strongest[0], {}).get(metric) if strongest else None,
        outcome=verdict.outcome,
        difference=hardest.difference if hardest else 0.0,
        smallest_detectable=hardest.smallest_detectable if hardest else 0.0,
        curves=curves,
    )


def _answered(
    asked: Ints, prompts: Sequence[str], references: Text, said: Mapping[str, Text]
) -> tuple[AnsweredRow, ...]:
    """A plain sample of the answered prompts, each with the better answer."""
    even = (
        np.unique(np.linspace(0, len(asked) - 1, min(NUM_SHOWN, len(asked))).round().astype(np.int64)) if said else ()
    )
    return tuple(
        AnsweredRow(
            index=int(asked[at]),
            prompt=prompts[asked[at]],
            reference=references.texts[at],
            answers={name: each.texts[at] for name, each in said.items()},
            nll={},
            is_worst=False,
        )
        for at in even
    )
