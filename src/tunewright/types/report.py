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


@dataclass(frozen=True, slots=True)
class Check:
    """What generated text has to pass beside the comparisons: what was measured, the limit on it, and why that limit.

    ``value`` is None where it could not be measured. ``limit`` is in words: ``at least 0.98``.
    """

    name: str
    passed: bool
    value: float | None
    limit: str
    why: str


@dataclass(frozen=True, slots=True)
class Retention:
    """E5: perplexity on a general text before tuning and after; ``ratio`` is after / before, 1 where nothing was forgotten."""

    before: float
    after: float
    ratio: float
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """N1: ``better`` only if both required comparisons are won at 0.05, ``worse`` if one is lost, else ``no evidence``.

    For text every check has to pass, too.
    """

    outcome: Literal["better", "worse", "no evidence"]
    metric: str
    sentence: str
    design: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...] = ()


Cause = Literal[
    "fine",
    "over-fit",
    "under-fit",
    "too few rows",
    "label trouble",
    "does not stop",
    "repeats itself",
    "forgot too much",
]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """E6: the named cause, what speaks for it, and the next command to type."""

    cause: Cause
    evidence: tuple[str, ...]
    next_command: str


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row that the tuned model got wrong with confidence: its index in the judged rows, and what was said.

    ``quotes`` says that both answers hold words of the text, which are as private as the text.
    """

    index: int
    gold: str
    answered: str
    confidence: float
    quotes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRow:
    """A judged dialogue as text: what came before, the reference, each system's answer, and its nats over all answers.

    ``is_worst`` marks the rows on which the tuned model lost most to the untouched base; the others are a plain sample.
    """

    index: int
    prompt: str
    reference: str
    answers: Mapping[str, str]
    nll: Mapping[str, float]
    is_worst: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an evaluation: numbers with intervals, comparisons, the outcome, and what the figures show.

    ``judged_on`` is ``test`` or ``out-of-fold``. ``systems`` holds every metric of the tuned model (``tuned``) and of each
    opponent on the judged rows; ``validation`` the same on the validation rows. ``thresholds`` maps a label to the decision
    threshold chosen on validation (empty when the most probable label is answered; ``evaluate/threshold.py`` says how it is
    applied). ``out_of_scope`` is the label that stands for none of the others. ``figures`` is JSON for the report.
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
    answered: tuple[AnsweredRow, ...] = ()
    out_of_scope: str | None = None
