"""What is decided before the first step, each with its reason: device, threads, precision, budget, length and rate.

The Plan is saved and reused by resume and replay: a run never changes its numerics half way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from tunewright.infer.load import read_width
from tunewright.train.optim import rate_factor
from tunewright.train.probe import choose_device, choose_kernels, probe_dtype
from tunewright.types import Base, Choice, Plan
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.config.base import Extension
    from tunewright.train.config import Train

SMALL_MODEL = 60_000_000
FEW_STEPS = 300
MOST_EPOCHS = 20
USUAL_EPOCHS = 3
USUAL_BUDGET = 16_384


def make_plan(
    config: Train.Config, base: Base, num_rows: int, *, lr_factor: float = 1.0, recomputes: bool = False
) -> Plan:
    """Decide what was left open, each with its reason; ``lr_factor`` and ``recomputes`` are the method's.

    Raises InputError for a device that is not there.
    """
    device = choose_device(config.device)
    threads = _asked("threads", config.threads) or Choice(
        "train.threads", torch.get_num_threads(), "all that torch finds"
    )
    torch.set_num_threads(int(str(threads.value)))
    dtype = (None if config.dtype == "auto" else _asked("dtype", config.dtype)) or probe_dtype(base, str(device.value))
    return Plan(
        (
            device,
            threads,
            dtype,
            choose_kernels(config.kernels, str(device.value)),
            _asked("token_budget", config.token_budget)
            or Choice("train.token_budget", USUAL_BUDGET, "fits any laptop"),
            _asked("recompute", config.recompute)
            or Choice("train.recompute", recomputes, "what this method usually does"),
            _asked("epochs", config.epochs) or _enough_epochs(num_rows, config.batch_size),
            _asked("lr", config.lr) or _usual_rate(base, lr_factor, config.optimizer),
        )
    )


def use_threads(plan: Plan) -> None:
    """Compute with as many threads as planned, also where an earlier process has planned."""
    torch.set_num_threads(int(plan["train.threads"]))


def read_plan(saved: Mapping[str, Any]) -> Plan:
    """The plan as ``plan.json`` has it."""
    return Plan(tuple(Choice(**choice) for choice in saved["choices"]))


def _asked(name: str, value: object) -> Choice | None:
    return None if value is None else Choice(f"train.{name}", value, "as asked")


def _enough_epochs(num_rows: int, batch_size: int) -> Choice:
    steps_per_epoch = max(1, math.ceil(num_rows / batch_size))
    epochs = min(MOST_EPOCHS, max(USUAL_EPOCHS, math.ceil(FEW_STEPS / steps_per_epoch)))
    few = f"{counted(steps_per_epoch, 'update')} a pass: few rows need more passes"
    return Choice("train.epochs", epochs, "enough for most data" if epochs == USUAL_EPOCHS else few)


def _usual_rate(base: Base, lr_factor: float, optimizer: Extension) -> Choice:
    small = trunk_size(base) < SMALL_MODEL
    reason = "a small model outside its embedding moves faster" if small else "the usual rate for models of this size"
    if lr_factor != 1.0:
        reason += f", times {lr_factor:g} for what this method trains"
    if (own := rate_factor(optimizer)) != 1.0:
        reason += f", times {own:g} for {optimizer.name}"
    return Choice("train.lr", float(f"{(1e-4 if small else 5e-5) * lr_factor * own:.3g}"), reason)


def trunk_size(base: Base) -> int:
    """Parameters outside the token embedding."""
    return base.num_parameters - read_width(base.folder) * base.vocabulary_size
