"""The train stage: run the loop, obey the consumers, commit, and end with the best checkpoint.

Plan ─▶ train: Loop.steps ─▶ consumers ─▶ evaluate | commit | roll back | stop ─▶ Checkpoint
"""

from __future__ import annotations

import torch

from tunewright import extensions
from tunewright.errors import InputError
from tunewright.infer.native.functions import use_kernels
from tunewright.train.average import Average
from tunewright.train.batches import Batches, Examples
from tunewright.train.committing import Commits
from tunewright.train.drive import Drive, Fit, Watch
from tunewright.train.loop import Loop, LossFunction, Settings
from tunewright.train.optim import make_optimizer
from tunewright.train.prefixes import can_share, reads_flat
from tunewright.train.ranks import ALONE
from tunewright.train.recompute import set_recompute
from tunewright.train.schedule import rate_at
from tunewright.train.split import join_weights, split_weights, splits
from tunewright.types import Checkpoint, Objective, Tell, tell_nobody

SHARDED = ("adamw", "adam", "lion", "sgd")
"""Optimisers whose update of a number needs no other: a part of a matrix moves as in the whole."""

__all__ = ["Fit", "Watch", "fit_quietly", "make_loop", "make_loss", "train"]


def make_loop(fit: Fit, examples: Examples) -> Loop:
    """The loop over ``examples``, ready at step 0."""
    plan, config, ranks = fit.plan, fit.config, fit.ranks
    torch.set_num_threads(max(1, int(plan["train.threads"]) // ranks.num_local))
    use_kernels(plan["train.kernels"] == "native")
    (phase, *_) = fit.trainable.phases
    loss_function = make_loss(phase.objective)
    _require_that_fits(fit)
    set_recompute(fit.trainable.module, wanted=plan["train.recompute"])
    module = ranks.place(
        fit.trainable.module, loss_function, device=str(plan["train.device"]), dtype=str(plan["train.dtype"])
    )
    batches = Batches(
        examples,
        batch_size=config.batch_size,
        token_budget=int(plan["train.token_budget"]),
        seed=fit.seed,
        pads=not reads_flat(module),
        shares=examples.per_token and can_share(module),
    )
    num_steps = int(plan["train.epochs"]) * batches.steps_per_epoch
    lr = float(plan["train.lr"])
    if splits(config, plan, size=ranks.size, remembers=fit.trainable.look_ahead is not None):
        split_weights(module)
    return Loop(
        module,
        loss_function=loss_function,
        batches=batches,
        optimizer=make_optimizer(config.optimizer, module, lr, config.layer_decay, phase.rates),
        rate=lambda step: rate_at(config.schedule, step, num_steps, lr),
        settings=Settings(
            num_steps=num_steps,
            seed=fit.seed,
            clip_norm=config.clip_norm,
            dtype="fp32" if ranks.keeps_precision else str(plan["train.dtype"]),
            device=str(plan["train.device"]),
            copies=fit.trainable.look_ahead is None and not ranks.keeps_precision,
            offload=config.offload,
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
    average = Average(fit.config.average, loop)
    _look_ahead(fit, examples, tell)
    for step in loop.steps():
        average.saw(step)
        tell(label, step.step, loop.settings.num_steps, "")
    average.settle()
    join_weights(loop.module)


def train(fit: Fit, examples: Examples, watch: Watch) -> Checkpoint:
    """Train to the end, from the last commit if there is one; the module ends with the best checkpoint's weights."""
    loop = make_loop(fit, examples)
    average = Average(fit.config.average, loop)
    with Commits(watch.checkpoints) as commits:
        drive = Drive(loop, watch, commits, average, fit)
        latest = watch.checkpoints.latest()
        fit.ranks.same(latest.number if latest else 0)
        if latest is not None:
            drive.take_up(latest)
        if not drive.finished:
            _look_ahead(fit, examples, watch.tell)
            if watch.rehearse is not None:
                watch.rehearse(loop)
            drive.run()
    fit.ranks.agree(tuple)  # the first rank's last commit is there for all
    best = watch.checkpoints.best() or watch.checkpoints.latest()
    assert best is not None
    ALONE.read(best.folder, fit.trainable.module)
    average.read(best.folder)
    average.settle()
    join_weights(fit.trainable.module)
    return Checkpoint(
        folder=best.folder,
        step=best.step,
        digest=best.digest,
        metric=best.metric,
        stopped_because=drive.stopped_because,
    )


def _require_that_fits(fit: Fit) -> None:
    """Raises InputError for options that cannot be had together."""
    config, ranks = fit.config, fit.ranks
    if ranks.is_sharded and config.optimizer.name not in SHARDED:
        raise InputError(
            "this optimiser looks at whole matrices, of which each process has a part",
            where="train.optimizer",
            given=config.optimizer.name,
            allowed=", ".join(SHARDED),
            hint="train.optimizer=adamw, or launch.strategy=ddp",
        )
    if ranks.is_sharded and config.average.name != "none":
        raise InputError(
            "weights of which each process has a part are not averaged",
            where="train.average",
            given=config.average.name,
            allowed="none",
            hint="train.average=none, or launch.strategy=ddp",
        )


def _look_ahead(fit: Fit, examples: Examples, tell: Tell) -> None:
    if fit.trainable.look_ahead is not None:
        fit.trainable.look_ahead(examples.ids, tell)
