"""The train stage: run the loop, obey the consumers, commit, and end with the best checkpoint.

Plan ─▶ train: Loop.steps ─▶ consumers ─▶ evaluate | commit | stop ─▶ Checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from tunewright import extensions
from tunewright.train.batches import Batches, Examples
from tunewright.train.config import Train
from tunewright.train.consumers import (
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
from tunewright.train.loop import Loop, LossFunction, Settings
from tunewright.train.optim import make_optimizer, rate_at
from tunewright.train.ranks import ALONE, Alone
from tunewright.types import Checkpoint, Directive, Floats, Objective, Plan, Step, Tell, Trainable, tell_nobody

if TYPE_CHECKING:
    from tunewright.store.checkpoints import CheckpointStore
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

    ``measured(number, value)`` is told the declared metric after each evaluation, counted from 1.
    """

    validation: Examples
    score: Callable[[Floats], Mapping[str, float | None]]
    metric: str
    higher_is_better: bool
    checkpoints: CheckpointStore
    events: EventLog
    asked_to_stop: Callable[[], bool]
    measured: Callable[[int, float], None] = lambda *_: None
    tell: Tell = tell_nobody


def make_loop(fit: Fit, examples: Examples) -> Loop:
    """The loop over ``examples``, ready at step 0."""
    plan, config, ranks = fit.plan, fit.config, fit.ranks
    torch.set_num_threads(max(1, int(plan["train.threads"]) // ranks.num_local))
    loss_function = make_loss(fit.trainable.phases[0].objective)
    module = ranks.place(
        fit.trainable.module, loss_function, device=str(plan["train.device"]), dtype=str(plan["train.dtype"])
    )
    batches = Batches(
        examples, batch_size=config.batch_size, token_budget=int(plan["train.token_budget"]), seed=fit.seed
    )
    num_steps = int(plan["train.epochs"]) * batches.steps_per_epoch
    lr = float(plan["train.lr"])
    return Loop(
        module,
        loss_function=loss_function,
        batches=batches,
        optimizer=make_optimizer(config.optimizer, module, lr),
        rate=lambda step: rate_at(config.optimizer, step, num_steps, lr),
        settings=Settings(
            num_steps=num_steps,
            seed=fit.seed,
            clip_norm=config.clip_norm,
            dtype="fp32" if ranks.keeps_precision else str(plan["train.dtype"]),
            device=str(plan["train.device"]),
            copies=fit.trainable.look_ahead is None,
        ),
        ranks=ranks,
    )


def make_loss(objective: Objective) -> LossFunction:
    """The loss function that an objective names."""
    loss: LossFunction = extensions.load("train.objective", objective.name)(**objective.options)
    return loss


def fit_quietly(fit: Fit, examples: Examples, tell: Tell = tell_nobody, label: str = "training") -> None:
    """Train without evaluations, commits or early stopping: the same updates, nothing kept but the weights."""
    loop = make_loop(fit, examples)
    _look_ahead(fit, examples, tell)
    for step in loop.steps():
        tell(label, step.step, loop.settings.num_steps, "")


def train(fit: Fit, examples: Examples, watch: Watch) -> Checkpoint:
    """Train to the end, from the last commit if there is one; the module ends with the best checkpoint's weights."""
    loop = make_loop(fit, examples)
    early = StopEarly(patience=fit.config.patience, target=fit.config.target, higher_is_better=watch.higher_is_better)
    latest = watch.checkpoints.latest()
    fit.ranks.same(latest.number if latest else 0)
    if latest is not None:
        fit.ranks.read(latest.folder, loop.module, loop.optimizer)
        position: Any = latest.position
        loop.restore(position["loop"])
        early.restore(position["early"])
    run = _Run(loop, watch, early, fit)
    if not run.finished:
        _look_ahead(fit, examples, watch.tell)
        run.drive()
    best = watch.checkpoints.best() or watch.checkpoints.latest()
    assert best is not None
    ALONE.read(best.folder, fit.trainable.module)
    return Checkpoint(
        folder=best.folder, step=best.step, digest=best.digest, metric=best.metric, stopped_because=run.stopped_because
    )


def _look_ahead(fit: Fit, examples: Examples, tell: Tell) -> None:
    if fit.trainable.look_ahead is not None:
        fit.trainable.look_ahead(examples.ids, tell)


class _Run:
    """Drives a loop and obeys its consumers."""

    def __init__(self, loop: Loop, watch: Watch, early: StopEarly, fit: Fit) -> None:
        self.loop = loop
        self.watch = watch
        self.early = early
        num_steps = loop.settings.num_steps
        every = fit.config.evaluate_every or loop.batches.steps_per_epoch
        self.consumers: Sequence[Consumer] = (
            Events(lambda kind, facts: watch.events.append(kind, **facts)),
            Progress(watch.tell, num_steps),
            EvaluateEvery(every, num_steps),
            Measured(watch.measured, every),
            early,
            CommitEvery(fit.config.commit_seconds),
            StopWhenLost(MOST_SKIPPED, float(fit.plan["train.lr"])),
            StopWhenAsked(watch.asked_to_stop),
        )
        self.ranks = fit.ranks
        if self.ranks.rank > 0:  # the first rank decides and writes; a wish to stop is heard everywhere
            self.consumers = self.consumers[-1:]

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

    def drive(self) -> None:
        """Step until the end, answering each Step with the consumers' directives."""
        steps = self.loop.steps()
        step = next(steps)
        while True:
            told = list(self.ranks.agree(partial(self._told, step)))
            metric: float | None = None
            if Directive.EVALUATE in told:
                evaluation = self._evaluate(step.epoch)
                metric = evaluation.value
                told += self.ranks.agree(partial(self._told, evaluation))
            if Directive.COMMIT in told or Directive.STOP in told:
                self._commit(metric)
            try:
                step = steps.send(told)
            except StopIteration:
                return

    def _told(self, fact: Step | Evaluation) -> list[Directive]:
        if isinstance(fact, Step):
            return [directive for consumer in self.consumers for directive in consumer.saw(fact)]
        return [directive for consumer in self.consumers for directive in consumer.evaluated(fact)]

    def _evaluate(self, epoch: float) -> Evaluation:
        validation = self.watch.validation
        outputs = self.ranks.predict(validation)
        metrics = dict(self.watch.score(outputs))
        loss, count = self.loop.loss_function.judge(torch.from_numpy(outputs), {"target": validation.targets})
        metrics["loss"] = float(loss / count)
        value = metrics[self.watch.metric]
        return Evaluation(
            step=self.loop.step, epoch=epoch, value=float("nan") if value is None else float(value), metrics=metrics
        )

    def _commit(self, metric: float | None) -> None:
        if self.ranks.rank > 0:
            self.ranks.help_to_write(self.loop.module, self.loop.optimizer)
            return
        position: dict[str, object] = {"loop": self.loop.state(), "early": self.early.state()}
        self.watch.events.flush()  # the log must reach as far as the checkpoint
        self.watch.checkpoints.commit(
            self.loop.step,
            lambda draft: self.ranks.write(draft, self.loop.module, self.loop.optimizer),
            position=position,
            metric=metric,
            keep_best="max" if self.watch.higher_is_better else "min",
        )
