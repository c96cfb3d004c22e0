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
from typing import Protocol

import torch

from tunewright.infer.batch import to_device
from tunewright.train.batches import Batches
from tunewright.types import Directive, Step


class LossFunction(Protocol):
    """A file of ``train/objective``."""

    def __call__(self, logits: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and the count that normalises it."""
        ...

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The count alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What does not change during a run."""

    num_steps: int
    seed: int
    clip_norm: float
    dtype: str
    device: str


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
        self.step = 0
        self.num_skipped = 0

    def steps(self) -> Generator[Step, Collection[Directive], None]:
        """Yield a Step after each update; ends after the last one or when ``Directive.STOP`` is sent."""
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
        self.module.train()
        device = torch.device(self.settings.device)
        lr = self.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)  # dropout is a function of (seed, step)
        total = self.loss_function.count(self.batches.columns(self.step)).to(device)
        loss_sum = torch.zeros((), device=device)
        row_ids: list[int] = []
        num_tokens = 0
        for batch in self.batches.micro_batches(self.step):
            with self._precision():
                logits = self.module(to_device(batch, device))
            loss, _ = self.loss_function(logits, to_device(batch, device).columns)
            (loss / total).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
            row_ids.extend(batch.row_ids)
            num_tokens += batch.num_tokens
        norm = self._clip()
        finite = bool(torch.isfinite(norm)) and bool(torch.isfinite(loss_sum))
        if finite:
            self.optimizer.step()
        else:
            self.num_skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return Step(
            step=self.step,
            epoch=self.step / self.batches.steps_per_epoch,
            loss=float(loss_sum / total),
            lr=lr,
            gradient_norm=float(norm),
            num_examples=len(row_ids),
            num_tokens=num_tokens,
            skipped=not finite,
            row_ids=tuple(row_ids),
        )

    def _clip(self) -> torch.Tensor:
        """Scale the gradients down to ``clip_norm`` (Pascanu et al. 2013, algorithm 1); returns the norm before."""
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        norm: torch.Tensor = torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm or float("inf"))
        return norm

    def _precision(self) -> AbstractContextManager[object]:
        if self.settings.dtype == "bf16":
            return torch.autocast(self.settings.device, dtype=torch.bfloat16)
        return nullcontext()
