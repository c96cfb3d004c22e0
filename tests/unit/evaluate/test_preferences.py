"""The judge of preferences: verdicts that are known beforehand, answers that fail their checks, what is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunewright.errors import InputError
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.preferences import evaluate_preferences
from tunewright.types import Ints, Preferred, Report, Text

REFERENCES = [f"a kind answer to question {number}, said once" for number in range(120)]


def texts(given: list[str], stopped: bool = True) -> Text:
    return Text(tuple(given), np.full(len(given), 9), np.full(len(given), stopped))


def leads(share: float, count: int, seed: int) -> Preferred:
    return Preferred(np.where(np.random.default_rng(seed).random(count) < share, 1.0, -1.0))


def judged(tuned: float, base: float, said: list[str] | None = None, stops: bool = True, **options: Any) -> Report:
    sizes = {"train": 300, "validation": 60, "test": 120}

    def write(rows: Ints) -> Text:
        return texts([(said or REFERENCES)[row] for row in rows], stops)

    given: dict[str, Any] = {
        "systems": {
            "tuned": lambda split: leads(tuned, sizes[split], 1),
            "untouched_base": lambda split: leads(base, sizes[split], 2),
            "answer_length": lambda split: leads(0.5, sizes[split], 3),
        },
        "written": {"tuned": write, "untouched_base": lambda rows: texts([REFERENCES[row] for row in rows])},
        "gold": lambda split: Preferred(np.ones(sizes[split])),
        "references": texts(REFERENCES),
        "prompts": [f"question {number}" for number in range(120)],
        "metrics": ("preference_accuracy", "preference_margin", "chrf", "stop_rate"),
    }
    return evaluate_preferences(Evaluate.Config(resamples=400), **{**given, **options})


def test_what_leads_more_often_and_writes_as_well_is_better() -> None:
    report = judged(0.95, 0.5)
    assert report.verdict.outcome == "better"
    assert "its own answers pass all" in report.verdict.sentence
    assert {each.against for each in report.verdict.comparisons if each.required} == {"untouched_base", "answer_length"}
    assert report.diagnosis.cause == "fine"
    assert report.answered[0].reference in REFERENCES
    assert "preference_margin" in report.systems["tuned"]
    assert "preference_margin" not in report.systems["untouched_base"]


def test_what_leads_less_often_is_worse() -> None:
    assert judged(0.3, 0.8).verdict.outcome == "worse"


@pytest.mark.parametrize(
    ("said", "stops", "cause"),
    [
        (["round and round it goes, " * 4] * 120, True, "repeats itself"),
        (REFERENCES, False, "does not stop"),
        (["no"] * 120, True, "over-fit"),
    ],
)
def test_answers_that_fail_their_checks_take_the_verdict_and_are_named(
    said: list[str], stops: bool, cause: str
) -> None:
    report = judged(0.95, 0.5, said, stops)
    assert report.verdict.outcome != "better"
    assert "what it generates fails" in report.verdict.sentence
    assert report.diagnosis.cause == cause
    assert "task.beta" in report.diagnosis.next_command


def test_without_answers_nothing_is_better() -> None:
    report = judged(0.95, 0.5, references=texts([]), prompts=[])
    assert report.verdict.outcome == "no evidence"
    assert report.answered == ()


def test_empty_splits_are_refused_or_left_out() -> None:
    with pytest.raises(InputError, match="there are no test rows"):
        judged(0.9, 0.5, gold=lambda split: Preferred(np.ones(0 if split == "test" else 9)))
