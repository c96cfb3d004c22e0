"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunewright.types.basic import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric's value with its interval (95 %), the number of rows behind it, and how the interval was made."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    num_rows: int
    method: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The tuned model against one opponent on the same rows.

    ``difference`` is tuned minus opponent in the primary metric, ``interval`` its 95 % interval, ``p`` the two-sided p-value
    of the deciding test named in ``test``, ``p_holm`` the same corrected over the whole table, ``smallest_detectable`` the
    difference that this test would have found with 80 % power. ``required`` marks the two that decide the verdict.
    """

    against: str
    metric: str
    tuned: float
    opponent: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    test: str
    num_rows: int
    num_discordant: int
    smallest_detectable: float
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """N1: ``better`` only if both required comparisons are won at 0.05, ``worse`` if one is lost, else ``no evidence``."""

    outcome: Literal["better", "worse", "no evidence"]
    metric: str
    sentence: str
    design: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """E6: the named cause, what speaks for it, and the next command to type."""

    cause: Literal["fine", "over-fit", "under-fit", "too few rows", "label trouble"]
    evidence: tuple[str, ...]
    next_command: str


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row that the tuned model got wrong with confidence: its index in the judged rows, and what was said."""

    index: int
    gold: str
    answered: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an evaluation: numbers with intervals, comparisons, the outcome, and what the figures show.

    ``judged_on`` is ``test`` or ``out-of-fold``. ``systems`` holds every metric of the tuned model (``tuned``) and of each
    opponent on the judged rows; ``validation`` the same on the validation rows. ``thresholds`` maps a label to the decision
    threshold chosen on validation (empty when the most probable label is answered). ``figures`` is JSON for the report.
    """

    judged_on: str
    num_rows: int
    measures: tuple[Measure, ...]
    per_label: Mapping[str, Mapping[str, float | None]]
    systems: Mapping[str, Mapping[str, float | None]]
    validation: Mapping[str, Mapping[str, float | None]]
    thresholds: Mapping[str, float]
    verdict: Verdict
    diagnosis: Diagnosis
    figures: Mapping[str, object]
    worst: tuple[WorstRow, ...]
    choices: tuple[Choice, ...]
