"""A search: what may vary, the trials, and which of them is the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = str | int | float | bool | None
"""What a searched option can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The numbers from ``low`` to ``high``, both included; ``log`` draws them evenly in their logarithm.

    ``step`` counts from ``low``; ``whole`` ranges hold whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False


Space = Mapping[str, Range | tuple[Value, ...]]
"""What may vary: dotted option path -> a range, or the values to choose among."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of the space and what was measured there.

    ``validations`` holds the metric after each evaluation, counted from 1. ``value`` is the best one of a complete trial
    and the last one of a pruned one. ``seconds`` are those of the process that ended it; ``reason`` says why it failed.
    """

    number: int
    parameters: Mapping[str, Value]
    state: Literal["running", "complete", "pruned", "failed"] = "running"
    value: float | None = None
    validations: Mapping[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials of a search in their order, and in which direction their values are better."""

    all: tuple[Trial, ...]
    higher_is_better: bool

    @property
    def ended(self) -> tuple[Trial, ...]:
        """Those that are over, however they ended."""
        return tuple(trial for trial in self.all if trial.state != "running")

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The complete ones, the best first, the earliest of equals first."""
        sign = -1.0 if self.higher_is_better else 1.0
        complete = [(sign * t.value, t.number, t) for t in self.all if t.state == "complete" and t.value is not None]
        return tuple(trial for *_, trial in sorted(complete, key=lambda entry: entry[:2]))
