"""The facts of a training, and what it is told in return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tunewright.types.basic import Choice, Tell, tell_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The facts of one update. Steps and epochs count from 1 when finished; ``loss`` is the mean over the step."""

    step: int
    epoch: float
    loss: float
    lr: float
    gradient_norm: float
    num_examples: int
    num_tokens: int
    skipped: bool
    row_ids: tuple[int, ...] = ()


class Directive(Enum):
    """What a consumer of Steps tells the loop. All are obeyed, ``STOP`` last; but ``ROLL_BACK`` bars an evaluation."""

    EVALUATE = "evaluate"
    COMMIT = "commit"
    ROLL_BACK = "roll back"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a replay takes over from the original: the Plan's choices as JSON, and the digest that the rows must have."""

    choices: Sequence[Mapping[str, Any]]
    data: str


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who looks on: progress, the choices made for the user, whether somebody asked to stop, and each evaluation.

    ``measured(number, value)``: the declared metric on the validation rows after the evaluation of this number, from 1.
    ``forecasts``: whether a training is rehearsed before its first step.
    """

    tell: Tell = tell_nobody
    say: Callable[[Choice], None] = lambda _: None
    asked_to_stop: Callable[[], bool] = lambda: False
    measured: Callable[[int, float], None] = lambda *_: None
    forecasts: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What the start-up probe decided, each with its reason. Saved with the run; resume and replay reuse it."""

    choices: tuple[Choice, ...]

    def __getitem__(self, path: str) -> Any:
        """The value decided under ``path``."""
        return next(choice.value for choice in self.choices if choice.path == path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A committed state of training: the folder, the step after which it was taken, and why training ended (if it did)."""

    folder: Path
    step: int
    digest: str
    metric: float | None
    stopped_because: str = ""
