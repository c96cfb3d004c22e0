"""The training loop, to be read in one sitting.

    batch -> forward -> objective -> backward -> (next micro-batch) -> clip -> update -> yield the Step -> receive directives

The loop knows nothing of checkpoints, evaluation, terminals or files: it yields facts, and stops when told. The order of the
rows and every random number are functions of (seed, step), so its state is the weights, the optimiser's moments and one
integer; restored at any step, it goes on bit for bit as if it had never stopped (same CPU features, threads and versions).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tunewright.infer.batch import to_device
from tunewright.infer.precision import precision
from tunewright.train.batches import Batches
from tunewright.train.update import Update
from tunewright.train.worker import Worker
from tunewright.types import Directive, Step


class LossFunction(Protocol):
    """A file of ``train/objective``."""

    def __call__(self, outputs: Any, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss of what the module's forward gave, and the count that normalises it."""
        ...

    def judge(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of what the module's ``answer`` gave, [N, C]."""
        ...

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The count alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What does not change during a run.

    ``dtype`` is that of the products; with ``copies`` a bf16 copy of the module computes, else the module itself by autocast.
    """

    num_steps: int
    seed: int
    clip_norm: float
    dtype: str
    device: str
    copies: bool = True


class Loop:
    """One run of updates over the batches."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        loss_function: LossFunction,
        batches: Batches,
        optimizer: torch.optim.Optimizer,
        rate: Callable[[int], float],
        settings: Settings,
    ) -> None:
        """Hold the collaborators; nothing runs before ``steps``."""
        self.module = module
        self.loss_function = loss_function
        self.batches = batches
        self.optimizer = optimizer
        self.rate = rate
        self.settings = settings
        self.worker = Worker(module, settings.dtype if settings.copies else "fp32")
        self.update = Update(module, optimizer, self.worker, settings.clip_norm)
        self.step = 0
        self.num_skipped = 0

    def steps(self) -> Generator[Step, Collection[Directive], None]:
        """Yield a Step after each update; ends after the last one or when ``Directive.STOP`` is sent."""
        self.worker.take_up()
        while self.step < self.settings.num_steps:
            directives = yield self._update()
            if directives and Directive.STOP in directives:
                return

    def state(self) -> dict[str, int]:
        """The position; weights and moments are read from the module and the optimiser."""
        return {"step": self.step, "num_skipped": self.num_skipped}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on after the step at which ``state`` was taken."""
        self.step = state["step"]
        self.num_skipped = state["num_skipped"]

    def _update(self) -> Step:
        lr = self.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        torch.manual_seed(_seed_of_step(self.settings.seed, self.step))
        loss, row_ids, num_tokens = self._accumulate()
        norm = self.update.norm()
        finite = bool(torch.isfinite(norm) & torch.isfinite(loss))
        if finite:
            self.update.apply(norm)
        else:
            self.num_skipped += 1
        self.update.clear()
        self.step += 1
        return Step(
            step=self.step,
            epoch=self.step / self.batches.steps_per_epoch,
            loss=float(loss),
            lr=lr,
            gradient_norm=float(norm),
            num_examples=len(row_ids),
            num_tokens=num_tokens,
            skipped=not finite,
            row_ids=row_ids,
        )

    def _accumulate(self) -> tuple[torch.Tensor, tuple[int, ...], int]:
        """Gradients of the batch's mean loss, from its micro-batches; the loss, the rows' ids and the tokens in it."""
        device = torch.device(self.settings.device)
        self.worker.module.train()
        total = self.loss_function.count(self.batches.columns(self.step)).to(device)
        mean = torch.zeros((), device=device)
        row_ids: list[int] = []
        num_tokens = 0
        micro_batches = list(self.batches.micro_batches(self.step))
        self.update.expect(len(micro_batches))
        for micro_batch in micro_batches:
            batch = to_device(micro_batch, device)
            with precision("fp32" if self.settings.copies else self.settings.dtype, self.settings.device):
                outputs = self.worker.module(batch)
            loss = self.loss_function(outputs, batch.columns)[0] / total
            loss.backward()  # type: ignore[no-untyped-call]
            mean += loss.detach()
            row_ids.extend(batch.row_ids)
            num_tokens += batch.num_tokens
        return mean, tuple(row_ids), num_tokens


def _seed_of_step(seed: int, step: int) -> int:
    """What dropout is drawn from: a hash of both, so that two seeds share no stretch of draws."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
