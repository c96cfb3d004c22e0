"""What listens to the Steps and answers with directives. Each is small, knows one thing, and can be left out.

A consumer has ``saw(step)`` after every update and ``evaluated(evaluation)`` after every evaluation. What one remembers that
decides about the run (``state``) is part of each checkpoint, so that resuming goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunewright.errors import GateError
from tunewright.types import Directive, Step, Tell
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.train.collapse import Signs

NOTHING: Collection[Directive] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The metrics on the validation rows after a step; ``value`` is the declared one; ``signs`` are those of a collapse."""

    step: int
    epoch: float
    value: float
    metrics: Mapping[str, float | None]
    signs: Signs | None = None


class Consumer:
    """Hears everything and says nothing; a consumer overrides what it needs."""

    def begin(self) -> None:
        """Told right before the first step of this process."""

    def saw(self, step: Step) -> Collection[Directive]:
        """Told of every update."""
        return NOTHING

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """Told of every evaluation."""
        return NOTHING


class EvaluateEvery(Consumer):
    """Asks for an evaluation every so many steps and after the last one."""

    def __init__(self, every: int, num_steps: int) -> None:
        """``every`` in updates."""
        self.every = every
        self.num_steps = num_steps

    def saw(self, step: Step) -> Collection[Directive]:
        """Due or not."""
        due = step.step % self.every == 0 or step.step == self.num_steps
        return (Directive.EVALUATE,) if due else NOTHING

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """A commit keeps the evaluated state."""
        return (Directive.COMMIT,)


class CommitEvery(Consumer):
    """Asks for a commit when the last one is too long ago; wall time decides when, never what."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``seconds`` between commits."""
        self.seconds = seconds
        self.clock = clock
        self.last = clock()

    def begin(self) -> None:
        """The clock starts."""
        self.last = self.clock()

    def saw(self, step: Step) -> Collection[Directive]:
        """Due or not."""
        if self.clock() - self.last < self.seconds:
            return NOTHING
        self.last = self.clock()
        return (Directive.COMMIT,)

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """The evaluation is committed by its own consumer; the clock starts anew."""
        self.last = self.clock()
        return NOTHING


class StopEarly(Consumer):
    """Stops when the declared metric has not improved for ``patience`` evaluations, or has reached ``target``."""

    def __init__(self, *, patience: int, target: float | None, higher_is_better: bool) -> None:
        """``patience`` 0 never stops early."""
        self.patience = patience
        self.target = target
        self.sign = 1.0 if higher_is_better else -1.0
        self.best: float | None = None
        self.best_step = 0
        self.num_without_gain = 0
        self.reason = ""

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """Compare with the best so far; a NaN is never a gain."""
        value = evaluation.value
        if math.isfinite(value) and (self.best is None or self.sign * value > self.sign * self.best):
            self.best, self.best_step, self.num_without_gain = value, evaluation.step, 0
        else:
            self.num_without_gain += 1
        if self.target is not None and math.isfinite(value) and self.sign * value >= self.sign * self.target:
            self.reason = f"the target {self.target:g} was reached"
        elif self.patience and self.num_without_gain >= self.patience:
            self.reason = f"no gain in {counted(self.num_without_gain, 'evaluation')}"
        return (Directive.STOP,) if self.reason else NOTHING

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "num_without_gain": self.num_without_gain,
            "reason": self.reason,
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint."""
        best = state["best"]
        self.best = None if best is None else float(str(best))
        self.best_step = int(str(state["best_step"]))
        self.num_without_gain = int(str(state["num_without_gain"]))
        self.reason = str(state["reason"])


class StopWhenLost(Consumer):
    """Ends a run whose updates are not finite any more, naming the rows, instead of skipping to the end."""

    def __init__(self, limit: int, lr: float) -> None:
        """``limit`` skipped updates in a row are too many; ``lr`` is the rate to try a tenth of."""
        self.limit = limit
        self.lr = lr
        self.num_in_a_row = 0

    def saw(self, step: Step) -> Collection[Directive]:
        """Count skipped updates. Raises GateError at the limit."""
        self.num_in_a_row = self.num_in_a_row + 1 if step.skipped else 0
        if self.num_in_a_row >= self.limit:
            rows = ", ".join(str(row) for row in step.row_ids[:8])
            raise GateError(
                f"{self.limit} updates in a row were not finite and none was applied",
                where=f"step {step.step}",
                given=f"loss {step.loss}, rows {rows} ...",
                allowed="finite losses and gradients",
                hint=f"train.lr={self.lr / 10:g} train.dtype=fp32",
            )
        return NOTHING

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {"num_in_a_row": self.num_in_a_row}

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint."""
        self.num_in_a_row = int(str(state["num_in_a_row"]))


class StopWhenAsked(Consumer):
    """Turns an interruption (Ctrl-C, SIGTERM) into a commit and a stop at the next step."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        """``asked`` says whether somebody wants the run to end."""
        self.asked = asked

    def saw(self, step: Step) -> Collection[Directive]:
        """Commit and stop if asked."""
        return (Directive.COMMIT, Directive.STOP) if self.asked() else NOTHING

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """The same after an evaluation, which may have taken long."""
        return (Directive.COMMIT, Directive.STOP) if self.asked() else NOTHING


class Events(Consumer):
    """Writes every step and evaluation down through ``append(kind, facts)``."""

    def __init__(self, append: Callable[[str, Mapping[str, object]], None]) -> None:
        """``append`` belongs to the run's event log."""
        self.append = append

    def saw(self, step: Step) -> Collection[Directive]:
        """One event a step; the rows of a skipped update are named."""
        facts: dict[str, object] = {
            "step": step.step, "epoch": step.epoch, "loss": finite(step.loss), "lr": step.lr,
            "gradient_norm": finite(step.gradient_norm), "num_examples": step.num_examples, "num_tokens": step.num_tokens,
            "skipped": step.skipped,
        }  # fmt: skip
        if step.skipped:
            facts["row_ids"] = list(step.row_ids)
        self.append("step", facts)
        return NOTHING

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """One event an evaluation."""
        metrics = {name: finite(value) for name, value in evaluation.metrics.items()}
        facts = {
            "step": evaluation.step,
            "epoch": evaluation.epoch,
            "value": finite(evaluation.value),
            "metrics": metrics,
        }
        self.append("evaluation", facts)
        return NOTHING


class Measured(Consumer):
    """Passes each evaluation on by its number; one that is repeated after a resume keeps its number."""

    def __init__(self, told: Callable[[int, float], None], every: int) -> None:
        """``every`` in updates, as the evaluations are asked for."""
        self.told = told
        self.every = every

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """The number, from 1, and the declared metric."""
        self.told(math.ceil(evaluation.step / self.every), evaluation.value)
        return NOTHING


class Progress(Consumer):
    """Tells how far the run is, with loss and rate; the command line draws it."""

    def __init__(self, tell: Tell, num_steps: int) -> None:
        """``num_steps`` of the whole run; the rate is that of this process."""
        self.tell = tell
        self.num_steps = num_steps
        self.started = time.monotonic()
        self.num_examples = 0
        self.smooth: float | None = None
        self.last = ""

    def begin(self) -> None:
        """The clock starts."""
        self.started = time.monotonic()

    def saw(self, step: Step) -> Collection[Directive]:
        """Update the bar."""
        self.num_examples += step.num_examples
        if math.isfinite(step.loss):
            self.smooth = step.loss if self.smooth is None else 0.9 * self.smooth + 0.1 * step.loss
        rate = self.num_examples / max(1e-9, time.monotonic() - self.started)
        shown = "-" if self.smooth is None else f"{self.smooth:.3f}"
        self.tell("training", step.step, self.num_steps, f"loss {shown}, {rate:.0f} examples/s{self.last}")
        return NOTHING

    def evaluated(self, evaluation: Evaluation) -> Collection[Directive]:
        """Show the last value beside the loss."""
        self.last = f", validation {evaluation.value:.4f}"
        return NOTHING


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None
