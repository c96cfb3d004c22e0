"""Weights in two halves: bf16, with which the model computes, and the 16 bits that these lack of fp32.

Of the usual six bytes a weight (fp32, and its bf16 copy) four remain, and an update is the same: the halves are put together,
the optimiser moves the weight in fp32, and it is divided again. With bits the 32 of a weight as an integer,

    bf16 = (bits + 2^15) / 2^16, rounded down        rest = bits - 2^16 bf16, in -2^15 .. 2^15 - 1

which loses nothing (cf. FlashOptim, arXiv 2602.23349, section 3, and Zamirai et al. 2020, "Revisiting BFloat16 Training",
whose Kahan sums keep 16 bits of each weight's error). The only difference from a rounded copy: exact halves go away from zero,
not to the even neighbour. Frozen weights that are bf16 anyway have no rest.

Whoever reads or writes a weight does so through ``whole`` and ``set_whole``, and need not know which way it is kept: commits,
means and tuned models hold fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tunewright.errors import InputError
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.train.config import Train
    from tunewright.types import Plan

SPLIT = ("adamw", "adamw_8bit", "lion")
"""Optimisers that move weights in two halves without being asked to, where there are kernels."""

_REST = "lower_half"


def splits(train: Train.Config, plan: Plan, *, size: int = 1, remembers: bool = False) -> bool:
    """Whether a run keeps its weights in two halves.

    ``size`` is the number of processes; a method that ``remembers`` computes with the module itself. Raises InputError where
    halves are asked for and cannot be had.
    """
    dtype = str(plan["train.dtype"])
    lacking = [
        change
        for change, holds in (
            ("train.dtype=bf16", dtype == "bf16"),
            ("launch.processes=1", size == 1),
            ("a method that reads the base more than once", not remembers),
        )
        if not holds
    ]
    if train.master == "split" and lacking:
        raise InputError(
            "weights in two halves cannot be had here",
            where="train.master",
            given=f"split, with train.dtype={dtype}, on {counted(size, 'process', 'processes')}",
            allowed=f"fp32; split with {', '.join(lacking)}",
            hint="train.master=fp32",
        )
    by_kernel = plan["train.kernels"] == "native" and train.optimizer.name in SPLIT
    return train.master == "split" or (train.master == "auto" and by_kernel and not lacking)


def divide(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two halves of weights in fp32: bf16, and int16 of the same shape."""
    bits = weights.contiguous().view(torch.int32)
    upper = (bits + (1 << 15)) >> 16
    return upper.to(torch.int16).view(torch.bfloat16), (bits - (upper << 16)).to(torch.int16)


def put_together(upper: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """The weights in fp32."""
    bits = upper.contiguous().view(torch.int16).to(torch.int32) << 16
    return (bits + rest.to(torch.int32)).view(torch.float32)


def split_weights(module: torch.nn.Module) -> None:
    """Divide every weight of the module that is in fp32."""
    for parameter in module.parameters():
        if parameter.dtype == torch.float32:
            upper, rest = divide(parameter.detach())
            parameter.data = upper
            setattr(parameter, _REST, rest if parameter.requires_grad or bool(rest.any()) else None)


def join_weights(module: torch.nn.Module) -> None:
    """Put every weight that was divided together again."""
    for parameter in module.parameters():
        if hasattr(parameter, _REST):
            parameter.grad = None
            parameter.data = whole(parameter)
            delattr(parameter, _REST)


def rest_of(parameter: torch.Tensor) -> torch.Tensor | None:
    """The lower half of a weight that is trained in two halves, or of a frozen one that bf16 does not hold."""
    return getattr(parameter, _REST, None)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """The weight in fp32: a copy of one in two halves, else the tensor itself."""
    rest = rest_of(parameter)
    if rest is None:
        return parameter.detach().float() if parameter.dtype == torch.bfloat16 else parameter.detach()
    return put_together(parameter.detach(), rest)


@torch.no_grad()
def set_whole(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Give the weight a value in fp32."""
    rest = rest_of(parameter)
    if rest is None:
        parameter.copy_(value)
        return
    upper, lower = divide(value.to(parameter.device, torch.float32))
    parameter.copy_(upper)
    rest.copy_(lower)
