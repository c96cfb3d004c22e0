"""The training loop, to be read in one sitting.

    batch -> forward -> objective -> backward -> (next micro-batch) -> clip -> update -> yield the Step -> receive directives

The loop knows nothing of checkpoints, evaluation, terminals or files: it yields facts, and stops when told. The order of the
rows and every random number are functions of (seed, step), so its state is the weights, the optimiser's moments and one
integer; restored at any step, it goes on bit for bit as if it had never stopped (same CPU features, threads and versions).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from tunewright.infer.batch import to_device
from tunewright.infer.precision import precision
from tunewright.train.batches import Batches
from tunewright.train.ranks import ALONE, Alone
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

    ``dtype`` is that of the products; with ``copies`` what computes is made beside the module, else it is the module itself.
    With ``offload`` what the way back needs waits in main memory.
    """

    num_steps: int
    seed: int
    clip_norm: float
    dtype: str
    device: str
    copies: bool = True
    offload: bool = False


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
        ranks: Alone = ALONE,
    ) -> None:
        """Hold the collaborators; nothing runs before ``steps``."""
        self.module = module
        self.loss_function = loss_function
        self.batches = batches
        self.optimizer = optimizer
        self.rate = rate
        self.settings = settings
        self.ranks = ranks
        self.worker = Worker(module, settings.dtype if settings.copies else None)
        self.whole = ranks.wrap(self.worker.module, loss_function, is_copy=self.worker.module is not module)
        self.update = Update(module, optimizer, self.worker, settings.clip_norm)
        self.step = 0
        self.num_skipped = 0
        self.share: Callable[[int], float] = lambda _: 1.0
        """The share of its rate that an update is given; one of 0 is computed and left out."""

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
        self.worker.take_up()

    def _update(self) -> Step:
        share = self.share(self.step)
        lr = self.rate(self.step) * share
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        torch.manual_seed(_seed_of_step(*self.ranks.random_of(self.settings.seed, self.step)))
        loss, row_ids, num_tokens = self._accumulate()
        norm = self.update.norm()
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        if share:
            self.update.apply(norm, finite)
        self.update.clear()
        self.step += 1
        skipped = not (share and bool(finite))
        self.num_skipped += skipped
        return Step(
            step=self.step,
            epoch=self.step / self.batches.steps_per_epoch,
            loss=float(loss),
            lr=lr,
            gradient_norm=float(norm),
            num_examples=len(row_ids),
            num_tokens=num_tokens,
            skipped=skipped,
            row_ids=row_ids,
        )

    def _accumulate(self) -> tuple[torch.Tensor, tuple[int, ...], int]:
        """Gradients of the batch's mean loss, from its micro-batches; the loss, the rows' ids and the tokens in it."""
        device = torch.device(self.settings.device)
        self.worker.module.train()
        total = self.loss_function.count(self.batches.columns(self.step)).to(device)
        mean = torch.zeros((), device=device)
        num_parts = len(self.batches.groups(self.batches.rows(self.step))) * self.ranks.size
        self.update.expect(is_one=num_parts == 1)
        for micro_batch, counts in self.ranks.micro_batches(self.batches, self.step):
            batch = to_device(micro_batch, device)
            with self.ranks.accumulating():
                with (
                    precision("fp32" if self.settings.copies else self.settings.dtype, self.settings.device),
                    self._keeping(),
                ):
                    loss = self.whole(batch)
                loss = loss / total if counts else loss * 0.0
                (loss * self.ranks.gradient_factor).backward()
            mean += loss.detach()
        self.ranks.sum_gradients(self.module)
        return self.ranks.sum_losses(mean), *self.batches.facts(self.step)

    def _keeping(self) -> AbstractContextManager[object]:
        if not self.settings.offload:
            return nullcontext()
        return torch.autograd.graph.save_on_cpu(pin_memory=self.settings.device == "cuda")


def _seed_of_step(*origin: int) -> int:
    """What dropout is drawn from: a hash of seed and step, so that two seeds share no stretch of draws."""
    return int(np.random.SeedSequence(origin).generate_state(1, np.uint64)[0])
