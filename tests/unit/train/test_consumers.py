"""Each consumer knows one thing and answers with directives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tunewright.train.consumers import (
    CommitEvery,
    EvaluateEvery,
    Evaluation,
    Events,
    Measured,
    Progress,
    StopEarly,
    StopWhenAsked,
    finite,
)
from tunewright.types import Directive, Step

STEP = Step(
    step=1, epoch=0.5, loss=0.7, lr=1e-3, gradient_norm=2.0, num_examples=4, num_tokens=30, skipped=False, row_ids=(3, 9)
)  # fmt: skip


def at(step: int, value: float = 0.5) -> Evaluation:
    return Evaluation(step=step, epoch=step / 10, value=value, metrics={"accuracy": value, "loss": 0.4})


def stops(early: StopEarly, values: list[float], first: int = 1) -> int | None:
    """After how many evaluations it says stop."""
    for number, value in enumerate(values, first):
        if Directive.STOP in early.evaluated(at(number, value)):
            return number
    return None


def stop_early(**options: Any) -> StopEarly:
    return StopEarly(**{"patience": 2, "target": None, "higher_is_better": True, **options})


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({}, [0.5, 0.6, 0.6, 0.6], 4),
        ({}, [0.5, 0.4, 0.6, 0.5, 0.5], 5),
        ({"patience": 1}, [0.5, 0.5], 2),
        ({"patience": 0}, [0.5] * 50, None),
        ({}, [math.nan, math.nan], 2),
        ({}, [0.5, math.nan, 0.6, math.nan, math.nan], 5),
        ({}, [math.inf, 0.1, 0.2], None),
        ({"patience": 0}, [math.nan] * 50, None),
        ({"higher_is_better": False}, [0.5, 0.4, 0.3, 0.31, 0.32], 5),
        ({"higher_is_better": False}, [0.5, 0.6, 0.4, 0.2], None),
        ({"target": 0.9}, [0.95], 1),
        ({"target": 0.9}, [0.5, 0.9], 2),
        ({"target": 0.9, "patience": 0}, [0.5, 0.89, 0.3, 0.91], 4),
        ({"target": 0.2, "higher_is_better": False}, [0.5, 0.2], 2),
        ({"target": 0.2, "higher_is_better": False}, [0.1], 1),
        ({"target": 0.9}, [math.nan, 0.5, math.inf, math.nan], 4),
        ({"target": 0.0, "patience": 0}, [-0.1, 0.0], 2),
    ],
)
def test_when_training_stops_early(options: dict[str, Any], values: list[float], expected: int | None) -> None:
    assert stops(stop_early(**options), values) == expected


def test_the_reason_says_why() -> None:
    target, patience = stop_early(target=0.9), stop_early()
    stops(target, [0.95])
    stops(patience, [0.9, 0.8, 0.7])
    assert target.reason == "the target 0.9 was reached"
    assert patience.reason == "no gain in 2 evaluations"


@pytest.mark.parametrize("split", range(5))
def test_its_memory_survives_a_restart(split: int) -> None:
    values = [0.5, 0.7, math.nan, 0.6]
    straight, first, second = stop_early(), stop_early(), stop_early()
    assert stops(straight, values) == 4
    stops(first, values[:split])
    second.restore(first.state())
    stops(second, values[split:], split + 1)
    assert second.state() == straight.state()
    assert straight.state() == {"best": 0.7, "best_step": 2, "num_without_gain": 2, "reason": straight.reason}


@pytest.mark.parametrize(("every", "expected"), [(3, [3, 6, 7]), (7, [7]), (100, [7]), (1, [1, 2, 3, 4, 5, 6, 7])])
def test_an_evaluation_is_due_every_so_often_and_at_the_end(every: int, expected: list[int]) -> None:
    consumer = EvaluateEvery(every, num_steps=7)
    assert [n for n in range(1, 8) if Directive.EVALUATE in consumer.saw(replace(STEP, step=n))] == expected
    assert consumer.evaluated(at(3)) == (Directive.COMMIT,)


def test_a_commit_is_due_when_the_last_one_is_too_long_ago() -> None:
    now = [100.0]
    consumer = CommitEvery(60, clock=lambda: now[0])
    answers = []
    for now[0] in (101.0, 159.9, 160.0, 161.0, 219.9, 220.0):
        answers.append(Directive.COMMIT in consumer.saw(STEP))
    assert answers == [False, False, True, False, False, True]
    now[0] = 270.0
    consumer.evaluated(at(1))  # an evaluation is committed by itself
    now[0] = 329.0
    assert not consumer.saw(STEP)


def test_a_wish_to_stop_becomes_a_commit_and_a_stop() -> None:
    wish = [False]
    consumer = StopWhenAsked(lambda: wish[0])
    assert not consumer.saw(STEP)
    assert not consumer.evaluated(at(1))
    wish[0] = True
    assert set(consumer.saw(STEP)) == set(consumer.evaluated(at(1))) == {Directive.COMMIT, Directive.STOP}


def test_events_hold_the_facts_in_json_and_name_the_rows_of_a_skipped_step() -> None:
    noted: list[tuple[str, dict[str, object]]] = []
    events = Events(lambda kind, facts: noted.append((kind, dict(facts))))
    events.saw(STEP)
    events.saw(replace(STEP, step=2, loss=math.nan, gradient_norm=math.inf, skipped=True))
    events.evaluated(at(2, math.nan))
    assert noted[0][1]["loss"] == 0.7
    assert "row_ids" not in noted[0][1]
    assert noted[1][0] == "step"
    assert noted[1][1] == {
        "step": 2, "epoch": 0.5, "loss": None, "lr": 1e-3, "gradient_norm": None, "num_examples": 4, "num_tokens": 30,
        "skipped": True, "row_ids": [3, 9],
    }  # fmt: skip
    assert noted[2] == (
        "evaluation",
        {"step": 2, "epoch": 0.2, "value": None, "metrics": {"accuracy": None, "loss": 0.4}},
    )


def test_progress_tells_step_loss_and_the_last_score() -> None:
    told: list[tuple[str, float, float | None, str]] = []
    progress = Progress(lambda *facts: told.append(facts), num_steps=20)
    progress.saw(replace(STEP, loss=math.nan))
    progress.saw(replace(STEP, step=2, loss=1.0))
    progress.evaluated(at(2, 0.875))
    progress.saw(replace(STEP, step=3, loss=0.0))
    assert [facts[:3] for facts in told] == [("training", 1, 20), ("training", 2, 20), ("training", 3, 20)]
    assert told[0][3].startswith("loss -, ")
    assert told[1][3].startswith("loss 1.000, ")
    assert told[2][3].startswith("loss 0.900, ")
    assert told[2][3].endswith("validation 0.8750")


@pytest.mark.parametrize(("value", "expected"), [(None, None), (0.5, 0.5), (math.nan, None), (-math.inf, None)])
def test_finite(value: float | None, expected: float | None) -> None:
    assert finite(value) == expected


def test_evaluations_are_passed_on_by_their_number_also_when_one_is_repeated() -> None:
    told: list[tuple[int, float]] = []
    measured = Measured(lambda number, value: told.append((number, value)), every=4)
    for step in (4, 8, 8, 10):  # killed after the second; the last one ends the training
        assert not list(measured.evaluated(at(step, step / 10)))
    assert told == [(1, 0.4), (2, 0.8), (2, 0.8), (3, 1.0)]
