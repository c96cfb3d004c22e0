"""The diagnosis of text models: one named cause, evidence in numbers, and a command that can be typed."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.diagnose_text import TextSymptoms, diagnose_text
from tunewright.types import Check

RUN = "tunewright run chats.jsonl"


def failed(name: str, value: float = 0.4, why: str = "because") -> Check:
    return Check(name, False, value, "at least 1", why)


def symptoms(**changed: Any) -> TextSymptoms:
    usual: dict[str, Any] = {"outcome": "no evidence", "num_train": 1000, "tuned_nll": 2.0, "base_nll": 3.0}
    curves = Curves(train_loss=(3.0, 2.0), validation_metric=(2.01, 2.0), epochs=2.0, kept_loss=2.0)
    return TextSymptoms(**{**usual, "curves": curves, **changed})


FALLING = Curves(train_loss=(3.0, 2.0), validation_metric=(3.0, 2.5, 2.2), epochs=2.0)
RISING = Curves(train_loss=(3.0, 1.0), validation_metric=(2.5, 2.0, 2.3, 2.6), epochs=4.0, kept_loss=1.9)
OVERFIT = Curves(train_loss=(3.0, 0.5), validation_metric=(2.5, 2.0, 2.3, 2.6), epochs=4.0, kept_loss=1.4)
FAR = Curves(train_loss=(3.0, 0.5), validation_metric=(2.01, 2.0), epochs=2.0, kept_loss=1.4)


@pytest.mark.parametrize(
    ("changed", "cause", "override"),
    [
        ({"outcome": "better"}, "fine", ""),
        ({"outcome": "better", "curves": RISING}, "fine", ""),
        ({"checks": (failed("stop_rate"),)}, "does not stop", "train.epochs=4"),
        ({"checks": (failed("stop_rate"),), "cut_references": 0.3}, "does not stop", "evaluate.max_new_tokens=512"),
        ({"checks": (failed("repetition"),)}, "repeats itself", "train.epochs=4"),
        ({"checks": (failed("repetition"),), "curves": RISING}, "repeats itself", "train.epochs=2"),
        ({"checks": (failed("retention_zh", 2.1),)}, "forgot too much", "train.epochs=1"),
        ({"tuned_nll": 3.2}, "under-fit", "train.epochs=4"),
        ({"curves": FALLING}, "under-fit", "train.epochs=4"),
        ({"curves": OVERFIT}, "over-fit", "train.epochs=2"),
        ({"curves": FAR}, "over-fit", "train.optimizer.weight_decay=0.1"),
        ({"curves": RISING}, "too few rows", "data.path=FILE_WITH_MORE_ROWS"),
        ({"curves": OVERFIT, "num_train": 40}, "too few rows", "data.path=FILE_WITH_MORE_ROWS"),
        ({"difference": -3.0, "smallest_detectable": 4.0}, "too few rows", "data.path=FILE_WITH_MORE_ROWS"),
        ({"checks": (failed("answers", 0.0),), "generated_rows": 0}, "too few rows", "evaluate.generated_rows=200"),
        ({"checks": (failed("length_ratio"),)}, "under-fit", "train.epochs=4"),
        ({}, "under-fit", "train.epochs=4"),
    ],
)
def test_the_cause_and_the_next_command(changed: dict[str, Any], cause: str, override: str) -> None:
    diagnosis = diagnose_text(symptoms(**changed), RUN, "runs/one")
    assert diagnosis.cause == cause
    assert diagnosis.next_command == (f"{RUN} {override}" if override else "tunewright chat runs/one")
    assert any(any(character.isdigit() for character in line) for line in diagnosis.evidence)


def test_nothing_is_known_and_nothing_breaks() -> None:
    assert diagnose_text(TextSymptoms(outcome="better"), RUN).evidence == ()
    assert diagnose_text(TextSymptoms(outcome="worse"), RUN).cause == "too few rows"


def test_training_and_validation_are_compared_at_the_step_that_was_kept() -> None:
    """Training went on to 0.5 nats after the kept step; those weights are not the ones that are judged."""
    diagnosis = diagnose_text(symptoms(curves=RISING, tuned_nll=1.443, base_nll=1.898), RUN)
    assert diagnosis.evidence == (
        "the validation loss was best at evaluation 2 of 4 and then rose by 30 %",
        "nats per token where the weights were kept: 1.900 on training rows, 2.000 on validation rows",
        "on whole validation rows the untouched base needs 0.455 nats per token more",
    )
    shown = diagnose_text(symptoms(curves=OVERFIT), RUN).evidence
    assert shown[0] == "validation tokens cost 0.600 nats more than training tokens"
    assert "1.400 on training rows, 2.000 on validation rows" in shown[2]
