"""A challenger against the live version, on rows that neither has been tuned on; what is compared follows from their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tunewright.answering.base import open_answerer
from tunewright.data.duplicates import hash_text, normalise
from tunewright.data.prepare import open_dataset
from tunewright.evaluate.checks import check_against, check_going_on
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.types import Answer, Check, Classified, Comparison, Label, Labels, Spans, Tell

SEEN = ("train", "validation")

Mark = tuple[Literal["row", "unit"], int]
"""What a model knows of a row that it was tuned on: the row itself, and the unit that it belongs to."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The comparison in what decides (None without rows), the checks of written answers, and how many rows were fair."""

    comparison: Comparison | None
    checks: tuple[Check, ...]
    num_rows: int


def contest(live: Path, challenger: Path, result: Mapping[str, Any], opponent: str, tell: Tell) -> Contest:
    """Both runs on the challenger's test rows that neither has been tuned on; ``result`` is the challenger's.

    A row is fair if neither it nor, where rows come in units (dialogues that open with the same question), one of its unit is
    among the training or validation rows of either.
    """
    config = Evaluate.Config(**result["config"]["values"]["evaluate"])
    test = open_dataset(challenger / "data").table("test")
    with closing(open_answerer(challenger)) as answerer:
        task = answerer.task
        seen = {mark for run in (live, challenger) for mark in _seen(run, task)}
        fair = [row for row, fields in enumerate(test.to_pylist()) if seen.isdisjoint(_marks(fields, task))]
        if not fair:
            return Contest(None, (), 0)
        rows = test.take(fair)
        ours = answerer.evidence(rows, config, tell)
    with closing(open_answerer(live)) as answerer:
        theirs = answerer.evidence(rows, config, tell)
    gold = task.gold(rows)
    tuned, rival, right = _alike(ours.decisive, theirs.decisive, gold)
    [comparison] = compare(
        tuned,
        {opponent: rival},
        right,
        result["verdict"]["metric"],
        {opponent},
        config.seed,
        num_resamples=config.resamples,
    )
    checks: tuple[Check, ...] = ()
    if ours.written is not None and theirs.written is not None:
        written = task.written(rows).take(ours.rows)
        checks = check_going_on(ours.written, written)
        if task.finishes:
            checks = check_against(config, ours.written, theirs.written, written, opponent)
    return Contest(comparison, checks, len(fair))


def _seen(run: Path, task: Any) -> Iterator[Mark]:
    """The marks of all rows that a model was trained or validated on."""
    dataset = open_dataset(run / "data")
    for split in SEEN:
        for batch in dataset.table(split).to_batches():
            for fields in batch.to_pylist():
                yield from _marks(fields, task)


def _marks(fields: Mapping[str, object], task: Any) -> list[Mark]:
    """The row, and its unit if it has one, as duplicates are judged."""
    unit = task.unit(fields)
    row: Mark = ("row", hash_text(normalise(task.identity(fields))))
    return [row] if unit is None else [row, ("unit", hash_text(normalise(unit)))]


def _alike(*answers: Answer) -> Sequence[Answer]:
    """The answers, of which the last is the right one; labels over all names of any of them, in the form of the right ones."""
    gold = answers[-1]
    if isinstance(gold, Spans):
        spans = [each for each in answers if isinstance(each, Spans)]
        every = tuple(dict.fromkeys(name for each in (gold, *reversed(spans)) for name in each.names))
        return [Spans(every, each.found) for each in spans]
    if not isinstance(gold, Label | Labels):
        return answers
    chosen = [each for each in answers if isinstance(each, Label | Labels)]
    names = tuple(dict.fromkeys(name for each in (gold, *reversed(chosen)) for name in each.names))
    return [_as_kind(each, type(gold), names) for each in chosen]


def _as_kind(answer: Classified, kind: type, names: tuple[str, ...]) -> Classified:
    """The same answers over a larger set of names; one label per row as a set of one, where the kind asks for sets."""
    columns = [names.index(name) for name in answer.names]
    probabilities = None
    if answer.probabilities is not None:
        probabilities = np.zeros((len(answer), len(names)))
        probabilities[:, columns] = answer.probabilities
    if kind is Label:
        assert isinstance(answer, Label)
        return Label(names, np.array(columns)[answer.chosen], probabilities, answer.out_of_scope)
    chosen = np.zeros((len(answer), len(names)), np.bool_)
    own = answer.chosen if isinstance(answer, Labels) else np.eye(len(answer.names), dtype=np.bool_)[answer.chosen]
    chosen[:, columns] = own
    return Labels(names, chosen, probabilities)
