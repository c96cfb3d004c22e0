"""What is watched after launch, what was seen, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunewright.types.answer import Answer
from tunewright.types.report import Check, Comparison


@dataclass(frozen=True, slots=True)
class Window:
    """Distinct texts, and what a model said to some texts of the same kind (not to these very ones, in a reference)."""

    texts: tuple[str, ...]
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one signal says of a window: a distance from the reference, and its p-value if nothing had changed.

    ``p_holm`` is ``p`` corrected for the number of signals; ``examples`` are the texts that speak loudest.
    """

    signal: str
    value: float
    p: float
    sentence: str
    examples: tuple[str, ...] = ()
    p_holm: float = 1.0
    is_alarm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All signals over one window. ``level`` is how often any of them may give a false alarm."""

    readings: tuple[Reading, ...]
    level: float
    num_rows: int
    is_alarm: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a challenger takes the place of the live version, and why.

    ``num_rows`` counts the test rows that neither has been trained or validated on; ``comparison`` is made on them (None where
    there are none), and where the two write text, ``checks`` of their answers to some of them. ``version`` is the
    challenger's number once it is on the shelf.
    """

    outcome: Literal["promote", "keep"]
    name: str
    live: int
    challenger: str
    version: int | None
    num_rows: int
    comparison: Comparison | None
    reason: str
    checks: tuple[Check, ...] = ()
