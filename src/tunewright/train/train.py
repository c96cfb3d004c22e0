"""The train stage: run the loop, obey the consumers, commit, and end with the best checkpoint.

Plan ─▶ train: Loop.steps ─▶ consumers ─▶ evaluate | commit | stop ─▶ Checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tunewright import extensions
from tunewright.infer.native.kernels import use_kernels
from tunewright.infer.predict import predict_logits
from tunewright.train.average import Average
from tunewright.train.batches import Batches, Examples, token_weights
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
from tunewright.train.optim import make_optimizer
from tunewright.train.schedule import rate_at
from tunewright.train.state import read_moments, read_weights, write_state
from tunewright.types import Checkpoint, Directive, Floats, Objective, Plan, Tell, Trainable, tell_nobody

if TYPE_CHECKING:
    from tunewright.store.artifact import Draft
    from tunewright.store.checkpoints import CheckpointStore
    from tunewright.store.events import EventLog


MOST_SKIPPED = 20
"""Updates in a row that are not finite before the run is given up: a bad batch passes, a broken model does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What one training needs besides its rows: the collaborators that pipeline composes."""

    trainable: Trainable
    plan: Plan
    config: Train.Config
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who watches a training: score(outputs[N, C] of the validation rows), the declared metric, and where facts go.

    ``measured(number, value)`` is told the declared metric after each evaluation, counted from 1. ``rehearse`` is handed
    the loop before the first step of this process and leaves it as it was.
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
    rehearse: Callable[[Loop], None] | None = None


def make_loop(fit: Fit, examples: Examples) -> Loop:
    """The loop over ``examples``, ready at step 0."""
    plan, config = fit.plan, fit.config
    torch.set_num_threads(int(plan["train.threads"]))
    use_kernels(plan["train.kernels"] == "native")
    fit.trainable.module.to(str(plan["train.device"]))
    batches = Batches(
        examples, batch_size=config.batch_size, token_budget=int(plan["train.token_budget"]), seed=fit.seed
    )
    num_steps = int(plan["train.epochs"]) * batches.steps_per_epoch
    lr = float(plan["train.lr"])
    return Loop(
        fit.trainable.module,
        loss_function=make_loss(fit.trainable.phases[0].objective),
        batches=batches,
        optimizer=make_optimizer(config.optimizer, fit.trainable.module, lr, config.layer_decay),
        rate=lambda step: rate_at(config.schedule, step, num_steps, lr),
        settings=Settings(
            num_steps=num_steps,
            seed=fit.seed,
            clip_norm=config.clip_norm,
            dtype=str(plan["train.dtype"]),
            device=str(plan["train.device"]),
            copies=fit.trainable.look_ahead is None,
        ),
    )


def make_loss(objective: Objective) -> LossFunction:
    """The loss function that an objective names."""
    loss: LossFunction = extensions.load("train.objective", objective.name)(**objective.options)
    return loss


def fit_quietly(fit: Fit, examples: Examples, tell: Tell = tell_nobody, label: str = "training") -> None:
    """Train without evaluations, commits or early stopping: the same updates, nothing kept but the weights."""
    loop = make_loop(fit, examples)
    average = Average(fit.config.average, loop)
    _look_ahead(fit, examples, tell)
    for step in loop.steps():
        average.saw(step)
        tell(label, step.step, loop.settings.num_steps, "")
    average.settle()


def train(fit: Fit, examples: Examples, watch: Watch) -> Checkpoint:
    """Train to the end, from the last commit if there is one; the module ends with the best checkpoint's weights."""
    loop = make_loop(fit, examples)
    average = Average(fit.config.average, loop)
    early = StopEarly(patience=fit.config.patience, target=fit.config.target, higher_is_better=watch.higher_is_better)
    latest = watch.checkpoints.latest()
    if latest is not None:
        read_weights(latest.folder, loop.module)
        read_moments(latest.folder, loop.module, loop.optimizer)
        position: Any = latest.position
        loop.restore(position["loop"])
        early.restore(position["early"])
        average.read(latest.folder)
    run = _Run(loop, watch, early, average, fit)
    if not run.finished:
        _look_ahead(fit, examples, watch.tell)
        if watch.rehearse is not None:
            watch.rehearse(loop)
            run = _Run(loop, watch, early, average, fit)  # whose clocks start now
        run.drive()
    best = watch.checkpoints.best() or watch.checkpoints.latest()
    assert best is not None
    read_weights(best.folder, loop.module)
    average.read(best.folder)
    average.settle()
    return Checkpoint(
        folder=best.folder, step=best.step, digest=best.digest, metric=best.metric, stopped_because=run.stopped_because
    )


def _look_ahead(fit: Fit, examples: Examples, tell: Tell) -> None:
    if fit.trainable.look_ahead is not None:
        fit.trainable.look_ahead(examples.ids, tell)


class _Run:
    """Drives a loop and obeys its consumers."""

    def __init__(self, loop: Loop, watch: Watch, early: StopEarly, average: Average, fit: Fit) -> None:
        self.loop = loop
        self.average = average
        self.watch = watch
        self.early = early
        num_steps = loop.settings.num_steps
        every = fit.config.evaluate_every or loop.batches.steps_per_epoch
        self.consumers: Sequence[Consumer] = (
            average,
            Events(lambda kind, facts: watch.events.append(kind, **facts)),
            Progress(watch.tell, num_steps),
            EvaluateEvery(every, num_steps),
            Measured(watch.measured, every),
            early,
            CommitEvery(fit.config.commit_seconds),
            StopWhenLost(MOST_SKIPPED, float(fit.plan["train.lr"])),
            StopWhenAsked(watch.asked_to_stop),
        )

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
            told = [directive for consumer in self.consumers for directive in consumer.saw(step)]
            metric: float | None = None
            if Directive.EVALUATE in told:
                evaluation = self._evaluate(step.epoch)
                metric = evaluation.value
                told += [directive for consumer in self.consumers for directive in consumer.evaluated(evaluation)]
            if Directive.COMMIT in told or Directive.STOP in told:
                self._commit(metric)
            try:
                step = steps.send(told)
            except StopIteration:
                return

    def _evaluate(self, epoch: float) -> Evaluation:
        validation = self.watch.validation
        with self.average.standing_in():
            outputs = predict_logits(self.loop.worker.module, validation.ids, weights=token_weights(validation))
        metrics = dict(self.watch.score(outputs))
        loss, count = self.loop.loss_function.judge(torch.from_numpy(outputs), {"target": validation.targets})
        metrics["loss"] = float(loss / count)
        value = metrics[self.watch.metric]
        return Evaluation(
            step=self.loop.step, epoch=epoch, value=float("nan") if value is None else float(value), metrics=metrics
        )

    def _commit(self, metric: float | None) -> None:
        position: dict[str, object] = {"loop": self.loop.state(), "early": self.early.state()}
        self.watch.events.flush()  # the log must reach as far as the checkpoint
        self.watch.checkpoints.commit(
            self.loop.step,
            self._write,
            position=position,
            metric=metric,
            keep_best="max" if self.watch.higher_is_better else "min",
        )

    def _write(self, draft: Draft) -> None:
        write_state(draft, self.loop.module, self.loop.optimizer)
        self.average.write(draft)
