"""The most confident errors: the first rows that a person should read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import row_hits
from tunewright.types import Classified, Label, Labels, WorstRow

if TYPE_CHECKING:
    from tunewright.types import Floats, Ints

SEPARATOR = " | "


def find_worst(answer: Classified, gold: Classified, num_rows: int) -> tuple[WorstRow, ...]:
    """The ``num_rows`` errors of the highest confidence, most confident first, ties by index.

    Confidence (0..1) is the probability of the label answered; for several labels, that of the surest wrong decision.
    Without probabilities it is 1.
    """
    confidence = _confidence(answer, gold)
    wrong = np.flatnonzero(~row_hits(answer, gold))
    order: Ints = wrong[np.argsort(-confidence[wrong], kind="stable")][:num_rows]
    return tuple(
        WorstRow(int(row), _shown(gold, int(row)), _shown(answer, int(row)), float(confidence[row])) for row in order
    )


def _confidence(answer: Classified, gold: Classified) -> Floats:
    if answer.probabilities is None:
        return np.ones(len(answer))
    if isinstance(answer, Label):
        result: Floats = answer.probabilities[np.arange(len(answer)), answer.chosen]
        return result
    decided = np.where(answer.chosen, answer.probabilities, 1.0 - answer.probabilities)
    surest: Floats = np.where(answer.chosen != gold.chosen, decided, 0.0).max(axis=1)
    return surest


def _shown(answer: Classified, row: int) -> str:
    if isinstance(answer, Labels):
        return SEPARATOR.join(name for name, chosen in zip(answer.names, answer.chosen[row], strict=True) if chosen)
    return answer.names[int(answer.chosen[row])]
