"""The invariance self-test (promise N3): what must not change a training does not change it, on a few of the user's own rows.

Everything is held against one oracle: each row read alone by the stock forward, where nothing is padded, flattened, cut or
gathered. Then the loss of some rows is sum_r L_r / sum_r c_r, with L_r the summed loss of row r and c_r its count (supervised
tokens, weighted rows), however they are batched. All of it in fp32 and without dropout, on a copy of the module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tunewright.infer.batch import to_device
from tunewright.infer.flat import is_flat
from tunewright.infer.predict import predict_logits
from tunewright.train.batches import Batches, Examples, token_weights
from tunewright.train.loop import Loop, Settings
from tunewright.train.miniature import Miniature, silence_dropout
from tunewright.train.optim import make_optimizer
from tunewright.train.padding import left_padded, next_token_logits, right_padded
from tunewright.train.prefixes import can_share
from tunewright.train.ranks import ALONE, Alone
from tunewright.train.split import split_weights, whole
from tunewright.types import Step, Tell, tell_nobody

BOUND = 1e-4
"""Rounding in fp32 stays ten times below it, and every known mistake a hundred times above."""

MIXED_SLACK = 0.005
"""What bf16 may deviate beyond the rounding of the stock forward: half a step of its 8 bits."""

HALVES = 0.1
"""Weights in two halves may end this share of their way apart: a few are rounded the other way, and gradients near zero turn."""

SLOW = 1e-5
"""A rate whose updates are lost where nothing but bf16 is kept."""

FLOOR = 1e-3
"""A gradient that is zero but for rounding is measured by this share of the largest one."""

UNLIMITED = 1 << 40
RATE = 1e-3

Gradients = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariance:
    """What one check found: the largest deviation, relative to what is right, and a sentence for people."""

    name: str
    deviation: float
    bound: float
    sentence: str

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the bound; one that is no number is not."""
        return self.deviation <= self.bound


class Recorder(torch.optim.Optimizer):
    """Keeps the gradients that it is given, and steps down them only where ``moves``."""

    def __init__(self, module: torch.nn.Module, *, moves: bool = False) -> None:
        """Listen to the parameters that train."""
        self.moves = moves
        self.names = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.seen: list[Gradients] = []
        super().__init__(list(self.names.values()), {"lr": 0.0})

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Keep a copy of what there is; ``w - lr * g``, without momentum."""
        given = {name: each.grad.clone() for name, each in self.names.items() if each.grad is not None}
        self.seen.append(given)
        if self.moves:
            with torch.no_grad():
                for name, gradient in given.items():
                    self.names[name].sub_(self.param_groups[0]["lr"] * gradient)


class Subject:
    """The miniature under test, with the oracle's answer for its rows."""

    def __init__(self, miniature: Miniature) -> None:
        """Nothing is computed before it is asked for."""
        self.miniature = miniature
        self.module = miniature.module
        self.examples = miniature.examples
        self.loss_function = miniature.loss_function
        self.optimizer = miniature.optimizer
        self.device = next(self.module.parameters()).device

    @cached_property
    def alone(self) -> tuple[list[float], list[float], Gradients]:
        """(Summed loss, count) of each row read alone, and the gradients of the mean over all of them."""
        return self._read_alone(np.arange(len(self.examples)))

    def right(self, rows: Any) -> tuple[float, Gradients]:
        """The loss of some rows and its gradients, each row read alone."""
        losses, counts, gradients = self._read_alone(rows)
        return sum(losses) / sum(counts), gradients

    def whole(self) -> tuple[float, Gradients]:
        """The same of all rows as one batch, as the module reads it."""
        everything = np.arange(len(self.examples))
        count = float(self.loss_function.count({"target": self.examples.target(everything)}))
        self.module.train()
        loss = self._loss(everything) / count
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), self._take_gradients()

    def updates(self, *, batch_size: int, token_budget: int, dtype: str = "fp32") -> list[tuple[Step, Gradients]]:
        """One epoch of the training loop itself, with the weights held still: each step and its gradients."""
        recorder = Recorder(self.module)
        steps = list(self.loop(recorder, batch_size, token_budget, dtype=dtype).steps())
        nothing: list[Gradients] = [{}] * (len(steps) - len(recorder.seen))
        return list(zip(steps, [*recorder.seen, *nothing], strict=True))

    def loop(
        self,
        optimizer: torch.optim.Optimizer,
        batch_size: int,
        token_budget: int,
        *,
        rate: float = RATE,
        clip_norm: float = 0.0,
        ranks: Alone = ALONE,
        dtype: str = "fp32",
    ) -> Loop:
        """The training loop over one epoch."""
        shares = self.examples.per_token and can_share(self.module)
        batches = Batches(self.examples, batch_size=batch_size, token_budget=token_budget, seed=0, shares=shares)
        settings = Settings(
            num_steps=batches.steps_per_epoch, seed=0, clip_norm=clip_norm, dtype=dtype, device=str(self.device)
        )
        return Loop(
            self.module,
            loss_function=self.loss_function,
            batches=batches,
            optimizer=optimizer,
            rate=lambda _: rate,
            settings=settings,
            ranks=ranks,
        )

    @contextmanager
    def stock(self) -> Iterator[None]:
        """Let the stock forward run, with transformers' attention written out, while the block lasts."""
        config = self.module.trunk.config
        before, config._attn_implementation = config._attn_implementation, "eager"
        try:
            yield
        finally:
            config._attn_implementation = before

    def _read_alone(self, rows: Any) -> tuple[list[float], list[float], Gradients]:
        counts = [float(self.loss_function.count({"target": self.examples.target(rows[at : at + 1])})) for at in
                  range(len(rows))]  # fmt: skip
        losses = []
        self.module.train()
        with self.stock():
            for at in range(len(rows)):
                loss = self._loss(rows[at : at + 1])
                (loss / sum(counts)).backward()  # type: ignore[no-untyped-call]
                losses.append(float(loss.detach()))
        return losses, counts, self._take_gradients()

    def _loss(self, rows: Any) -> torch.Tensor:
        batch = to_device(self.examples.batch(rows), self.device)
        return self.loss_function(self.module(batch), batch.columns)[0]

    def _take_gradients(self) -> Gradients:
        found = {name: each.grad for name, each in self.module.named_parameters() if each.grad is not None}
        self.module.zero_grad(set_to_none=True)
        return found


def gap(found: float, right: float) -> float:
    """How far a loss is from the right one, relative to it where it is above 1."""
    return abs(found - right) / max(1.0, abs(right))


def gradient_gap(found: Gradients, right: Gradients) -> float:
    """The largest distance of a tensor from the right one, relative to its length; infinite where one is missing."""
    if found.keys() != right.keys():
        return float("inf")
    floor = FLOOR * max((float(each.norm()) for each in right.values()), default=0.0) + 1e-12
    gaps = [float((found[name] - each).norm() / (each.norm() + floor)) for name, each in right.items()]
    return float(np.max(gaps)) if gaps else 0.0  # numpy's: what is no number stays none


def worst(*gaps: float) -> float:
    """The largest; what is no number counts as infinite."""
    return max(float("inf") if np.isnan(each) else each for each in gaps)


def accumulation(subject: Subject) -> Invariance:
    """One micro-batch, an uneven cut, and every row for itself: the same loss and gradients."""
    losses, counts, right = subject.alone
    longest = max(len(ids) for ids in subject.examples.ids)
    gaps = []
    for budget in (UNLIMITED, 2 * longest, 1):
        for step, gradients in subject.updates(batch_size=len(subject.examples), token_budget=budget):
            gaps += [gap(step.loss, sum(losses) / sum(counts)), gradient_gap(gradients, right)]
    spread = f"{min(counts):g} to {max(counts):g}"
    sentence = f"a batch as one micro-batch, cut unevenly, or row by row gives one gradient (counts of a row: {spread})"
    return Invariance(name="accumulation", deviation=worst(*gaps), bound=BOUND, sentence=sentence)


def flattened(subject: Subject) -> Invariance:
    """The module as it reads a batch against each row read alone by the stock forward."""
    losses, counts, right = subject.alone
    loss, gradients = subject.whole()
    way = "flattened rows" if is_flat(subject.module.trunk) else "padded rows (the fast path does not know this model)"
    return Invariance(
        name="flattened",
        deviation=worst(gap(loss, sum(losses) / sum(counts)), gradient_gap(gradients, right)),
        bound=BOUND,
        sentence=f"{way} give the loss and every gradient of each row read alone by the stock model",
    )


def padding(subject: Subject) -> Invariance:
    """Padded on the right, on the left, and as answers are generated: the same as rows that are not padded."""
    losses, counts, right = subject.alone
    with subject.stock():
        loss, gradients = subject.whole()
        gaps = [gap(loss, sum(losses) / sum(counts)), gradient_gap(gradients, right)]
    trunk = subject.module.trunk
    everything = to_device(subject.examples.batch(np.arange(len(subject.examples))), subject.device)
    subject.module.eval()
    with torch.no_grad(), subject.stock():
        stream = everything.streams["source"]
        expected, states = right_padded(trunk, stream), left_padded(trunk, stream)
        gaps.append(float((states - expected).norm() / expected.norm()))
    sides = "rows padded on the right or on the left are read as rows alone"
    language_model = getattr(subject.module, "model", None)
    if language_model is not None:
        written, expected = next_token_logits(language_model, subject.examples.ids)
        gaps.append(float((written - expected).norm() / expected.norm()))
        sides += ", and answers of unequal length that are written together are as if each were written alone"
    return Invariance(name="padding", deviation=worst(*gaps), bound=BOUND, sentence=sides)


def windows(subject: Subject) -> Invariance:
    """An epoch whose last batch is smaller: every row once, each batch normalised by its own count."""
    losses, counts, _ = subject.alone
    updates = subject.updates(batch_size=3, token_budget=UNLIMITED)
    seen = sorted(row for step, _ in updates for row in step.row_ids)
    if seen != list(range(len(subject.examples))):
        sentence = (
            f"an epoch over {len(subject.examples)} rows reads {len(set(seen))} of them, {len(seen)} times in all"
        )
        return Invariance(name="last window", deviation=float("inf"), bound=BOUND, sentence=sentence)
    gaps = []
    for step, _ in updates:
        rows = list(step.row_ids)
        gaps.append(gap(step.loss, sum(losses[row] for row in rows) / sum(counts[row] for row in rows)))
    last, gradients = updates[-1]
    gaps.append(gradient_gap(gradients, subject.right(np.array(last.row_ids))[1]))
    sentence = f"an epoch reads every row once; its last batch, {len(last.row_ids)} of 3 rows, is a mean over its own"
    return Invariance(name="last window", deviation=worst(*gaps), bound=BOUND, sentence=sentence)


def supervision(subject: Subject) -> Invariance:
    """What the forward supervises is what the loss is divided by."""
    count = float(subject.loss_function.count({"target": subject.examples.targets}))
    batch = to_device(subject.examples.batch(np.arange(len(subject.examples))), subject.device)
    subject.module.eval()
    with torch.no_grad():
        outputs = subject.module(batch)
    if subject.examples.per_token:
        found, what = float(outputs.weights.sum()), "supervised tokens"
    else:
        _, judged = subject.loss_function.judge(outputs, batch.columns)
        found, what = float(judged), "weighted rows"
    sentence = f"the loss is divided by the {count:g} {what} that it sums over"
    return Invariance(name="supervision", deviation=abs(found - count), bound=0.0, sentence=sentence)


def frozen(subject: Subject) -> Invariance:
    """After updates by the loop and the recipe's optimiser, what is frozen has no gradient and is what it was."""
    kept = {name: value.clone() for name, value in subject.module.named_parameters() if not value.requires_grad}
    got = {name for _, gradients in subject.updates(batch_size=3, token_budget=UNLIMITED) for name in gradients}
    for _ in subject.loop(make_optimizer(subject.optimizer, subject.module, RATE), 3, UNLIMITED).steps():
        pass
    now = dict(subject.module.named_parameters())
    wrong = [name for name, value in kept.items() if name in got or not torch.equal(value, now[name])]
    sentence = f"{len(kept)} frozen tensors get no gradient and do not move, {len(got)} train"
    sentence = sentence if kept else f"nothing is frozen, {len(got)} tensors train"
    if wrong:
        sentence = f"{len(wrong)} frozen tensors move or get a gradient, such as {wrong[0]}"
    return Invariance(name="frozen", deviation=float(len(wrong)), bound=0.0, sentence=sentence)


def mixed_precision(subject: Subject) -> Invariance:
    """The run's own bf16 path, with its fused layers and kernels, is as close to fp32 as the stock forward in bf16 is.

    Measured over all gradients as one vector: single tensors drown in the rounding.
    """
    losses, counts, right = subject.alone
    plain = Subject(replace(subject.miniature, module=copy.deepcopy(subject.module).bfloat16()))
    rounding = _whole_gap(plain.alone[2], right)
    gaps = []
    for budget in (UNLIMITED, 2 * max(len(ids) for ids in subject.examples.ids)):
        for step, found in subject.updates(batch_size=len(subject.examples), token_budget=budget, dtype="bf16"):
            gaps += [gap(step.loss, sum(losses) / sum(counts)), _whole_gap(found, right)]
    sentence = f"in bf16, as this run computes, gradients are as near to fp32 as the stock model's ({rounding:.1g})"
    return Invariance(name="bf16", deviation=worst(*gaps), bound=1.5 * rounding + MIXED_SLACK, sentence=sentence)


def halves(subject: Subject) -> Invariance:
    """Updates in bf16 by the recipe's optimiser over weights in two halves end where those over whole weights do.

    Measured over all weights as one vector, by the way that they went.
    """
    found = []
    for is_split in (False, True):
        module = copy.deepcopy(subject.module)
        if is_split:
            split_weights(module)
        moving = Subject(replace(subject.miniature, module=module))
        optimizer = make_optimizer(subject.optimizer, module, SLOW)
        for _ in moving.loop(optimizer, 3, UNLIMITED, rate=SLOW, dtype="bf16").steps():
            pass
        found.append({name: whole(each) for name, each in module.named_parameters() if each.requires_grad})
    before = {name: each.detach() for name, each in subject.module.named_parameters() if each.requires_grad}
    way = {name: each - before[name] for name, each in found[0].items()}
    deviation = _whole_gap({name: each - before[name] for name, each in found[1].items()}, way)
    sentence = "weights in two halves move as whole ones do"
    return Invariance(name="halves", deviation=deviation, bound=HALVES, sentence=sentence)


def _whole_gap(found: Gradients, right: Gradients) -> float:
    """The distance of all gradients from the right ones, relative to their length."""
    away = [float((found[name] - each).norm()) if name in found else float("inf") for name, each in right.items()]
    whole = float(np.linalg.norm([float(each.norm()) for each in right.values()]))
    return float(np.linalg.norm(away)) / (whole + 1e-12)


def evaluation(module: torch.nn.Module, examples: Examples) -> Invariance:
    """Two evaluations of the module with its dropout give the same bits, and training mode comes back."""
    module.train()
    weights = token_weights(examples)
    one, two = (predict_logits(module, examples.ids, weights=weights) for _ in range(2))
    difference = float(np.abs(one - two).max()) if module.training else float("inf")
    sentence = "dropout is off in evaluation, and on again afterwards"
    return Invariance(name="evaluation", deviation=difference, bound=0.0, sentence=sentence)


CHECKS: tuple[Callable[[Subject], Invariance], ...] = (
    accumulation, flattened, padding, windows, supervision, frozen,
)  # fmt: skip


def check_invariances(miniature: Miniature, tell: Tell = tell_nobody) -> list[Invariance]:
    """Each check in turn; it consumes the miniature. Torch's random numbers are afterwards what they were."""
    with torch.random.fork_rng():
        found = [evaluation(miniature.module, miniature.examples)]
        silence_dropout(miniature.module)
        subject = Subject(miniature)
        mixed = (mixed_precision, *([halves] if miniature.splits else [])) if miniature.dtype == "bf16" else ()
        checks = (*mixed, *CHECKS)
        for number, check in enumerate(checks, 1):
            tell("checking the engine", number, len(checks) + 1, found[-1].name)
            found.append(check(subject))
    tell("checking the engine", len(checks) + 1, len(checks) + 1, "")
    return found
