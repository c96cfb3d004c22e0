"""What a training is watched and steered by: the consumers of its steps, its commits, and the way back from a spike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from tunewright.errors import GateError
from tunewright.train.average import Average
from tunewright.train.batches import Examples
from tunewright.train.collapse import StopWhenCollapsed, signs_of
from tunewright.train.committing import Commits
from tunewright.train.config import Train
from tunewright.train.consumers import (
    NOTHING,
    CommitEvery,
    Consumer,
    EvaluateEvery,
    Evaluation,
    Events,
    Measured,
    Progress,
    StopEarly,
    StopWhenAsked,
    StopWhenLost,
)
from tunewright.train.loop import Loop
from tunewright.train.ranks import ALONE, Alone
from tunewright.train.spikes import Incident, Spikes
from tunewright.types import Directive, Floats, Plan, Step, Tell, Trainable, tell_nobody

if TYPE_CHECKING:
    from tunewright.store.artifact import Draft
    from tunewright.store.checkpoints import CheckpointStore, Commit
    from tunewright.store.events import EventLog

MOST_SKIPPED = 20
"""Updates in a row that are not finite before the run is given up: a bad batch passes, a broken model does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What one training needs besides its rows: the collaborators that pipeline composes; ``ranks`` is who computes it."""

    trainable: Trainable
    plan: Plan
    config: Train.Config
    seed: int
    ranks: Alone = field(default=ALONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who watches a training: score(outputs[N, C] of the validation rows), the declared metric, and where facts go.

    ``measured(number, value)`` is told the declared metric after each evaluation, counted from 1; ``healed(incidents)``
    all spikes so far, after each. ``origin`` names the code and versions that train; each commit holds it. ``rehearse`` is
    handed the loop before the first step of this process and leaves it as it was.
    """

    validation: Examples
    score: Callable[[Floats], Mapping[str, float | None]]
    metric: str
    higher_is_better: bool
    checkpoints: CheckpointStore
    events: EventLog
    asked_to_stop: Callable[[], bool]
    measured: Callable[[int, float], None] = lambda *_: None
    healed: Callable[[Sequence[Incident]], None] = lambda _: None
    origin: Mapping[str, str] = field(default_factory=dict)
    tell: Tell = tell_nobody
    rehearse: Callable[[Loop], None] | None = None


class Drive:
    """Drives a loop and obeys its consumers."""

    def __init__(self, loop: Loop, watch: Watch, commits: Commits, average: Average, fit: Fit) -> None:
        """``loop`` stands at its first step; ``take_up`` moves it on."""
        self.loop = loop
        self.average = average
        self.watch = watch
        self.commits = commits
        num_steps, lr, config = loop.settings.num_steps, float(fit.plan["train.lr"]), fit.config
        every = config.evaluate_every or loop.batches.steps_per_epoch
        higher = watch.higher_is_better
        self.early = StopEarly(patience=config.patience, target=config.target, higher_is_better=higher)
        self.spikes = Spikes(lr)
        collapse, lost = StopWhenCollapsed(higher_is_better=higher, lr=lr), StopWhenLost(MOST_SKIPPED, lr)
        self.remembering: Mapping[str, Any] = {
            "loop": loop, "early": self.early, "spikes": self.spikes, "collapse": collapse, "lost": lost
        }  # fmt: skip
        loop.share = self.spikes.share
        self.consumers: Sequence[Consumer] = (
            average,
            Events(lambda kind, facts: watch.events.append(kind, **facts)),
            Progress(watch.tell, num_steps),
            EvaluateEvery(every, num_steps),
            Measured(watch.measured, every),
            *((self.spikes, collapse) if config.heal else ()),
            self.early,
            CommitEvery(config.commit_seconds),
            lost,
            StopWhenAsked(watch.asked_to_stop),
        )
        self.ranks = fit.ranks
        if self.ranks.rank > 0:  # the first rank decides and writes; a wish to stop is heard everywhere
            self.consumers = (average, self.consumers[-1])

    def take_up(self, commit: Commit) -> None:
        """Go back, or on, to the state of a commit: weights, moments, position and what the consumers remember."""
        self.ranks.read(commit.folder, self.loop.module, self.loop.optimizer)
        self.average.read(commit.folder)
        self._remember(commit)

    @property
    def finished(self) -> bool:
        """Whether training is over, by its length or by a reason to stop early."""
        return self.loop.step >= self.loop.settings.num_steps or bool(self.early.reason)

    @property
    def stopped_because(self) -> str:
        """Why training ended; empty where it was interrupted."""
        if self.early.reason:
            return self.early.reason
        return "all epochs done" if self.finished else ""

    def run(self) -> None:
        """Step until the end, answering each Step with the consumers' directives."""
        for consumer in self.consumers:
            consumer.begin()
        steps = self.loop.steps()
        step = next(steps)
        while True:
            told = list(self.ranks.agree(partial(self._told, step)))
            metric: float | None = None
            if Directive.ROLL_BACK in told:
                self._roll_back()
            elif Directive.EVALUATE in told:
                evaluation = self._evaluate(step.epoch)
                metric = evaluation.value
                told += self.ranks.agree(partial(self._told, evaluation))
            if {Directive.COMMIT, Directive.ROLL_BACK, Directive.STOP} & set(told):
                self._commit(metric)
            if Directive.ROLL_BACK in told and self.ranks.size > 1:
                self._hear_of_incident()
            try:
                step = steps.send(told)
            except StopIteration:
                return

    def _told(self, fact: Step | Evaluation) -> list[Directive]:
        self.commits.raise_failure()
        if isinstance(fact, Step):
            return [directive for consumer in self.consumers for directive in consumer.saw(fact)]
        return [directive for consumer in self.consumers for directive in consumer.evaluated(fact)]

    def _evaluate(self, epoch: float) -> Evaluation:
        validation = self.watch.validation
        with self.average.standing_in():
            outputs = self.ranks.predict(validation)
        metrics = dict(self.watch.score(outputs))
        metrics["loss"] = float("nan")
        if len(validation):
            loss, count = self.loop.loss_function.judge(torch.from_numpy(outputs), {"target": validation.targets})
            metrics["loss"] = float(loss / count)
        value = metrics[self.watch.metric]
        return Evaluation(
            step=self.loop.step,
            epoch=epoch,
            value=float("nan") if value is None else float(value),
            metrics=metrics,
            signs=signs_of(outputs, validation.targets, self.loop.module),
        )

    def _roll_back(self) -> None:
        """Take back what was done since the last commit; the commit that follows holds the incident."""
        self.ranks.agree(self._settle)
        last = self.watch.checkpoints.latest()
        if last is None:
            raise GateError(
                "a spike, and no commit to go back to",
                where=f"step {self.loop.step}",
                given=self.spikes.found.sentence if self.spikes.found else "as another process found",
                allowed="the commit made at the end of the warm-up, undamaged",
                hint="take the run's folder away and start again",
            )
        self.take_up(last)
        self.ranks.agree(partial(self._take_in, last))

    def _take_in(self, last: Commit) -> Collection[Directive]:
        incident = self.spikes.found
        if self.ranks.rank == 0 and incident is not None:
            self.watch.events.rewind(last.step)
            try:
                self.spikes.take_in(incident)
            finally:
                self.watch.healed(self.spikes.incidents)
        return NOTHING

    def _hear_of_incident(self) -> None:
        """The other ranks read the incident in the commit that the first one has made."""
        self.ranks.agree(self._settle)
        if self.ranks.rank > 0 and (latest := self.watch.checkpoints.latest()) is not None:
            self._remember(latest)

    def _settle(self) -> Collection[Directive]:
        self.commits.settle()
        return NOTHING

    def _remember(self, commit: Commit) -> None:
        position: Any = commit.position
        for name, each in self.remembering.items():
            each.restore(position[name])

    def _commit(self, metric: float | None) -> None:
        if self.ranks.rank > 0:
            self.ranks.help_to_write(self.loop.module, self.loop.optimizer)
            return
        position = {name: each.state() for name, each in self.remembering.items()}
        self.watch.events.flush()  # the log must reach as far as the checkpoint
        self.commits.commit(
            self.loop.step,
            self._writer(),
            position={**position, "origin": dict(self.watch.origin)},
            metric=metric,
            keep_best="max" if self.watch.higher_is_better else "min",
        )
        if self.ranks.is_sharded:
            self.commits.settle()

    def _writer(self) -> Callable[[Draft], None]:
        """What writes the state of now, whatever is trained meanwhile."""
        state, means = self.ranks.snapshot(self.loop.module, self.loop.optimizer), self.average.copies()

        def write(draft: Draft) -> None:
            state(draft)
            self.average.write(draft, means)

        return write
