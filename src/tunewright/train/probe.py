"""The start-up probe: what this machine is fast at, measured for a fraction of a second at the model's own shapes.

What it decides is saved as the Plan and reused by resume and replay, so that a run never changes its numerics half way.
"""

from __future__ import annotations

import time

import torch

from tunewright.errors import InputError
from tunewright.infer.load import read_width
from tunewright.infer.native.build import built
from tunewright.types import Base, Choice
from tunewright.words import counted

WORTHWHILE = 1.3
"""bf16 must be this much faster than fp32 before its coarser rounding (8 bits of precision) is taken."""
TOKENS = 512
USUAL_WIDTH = 512


def probe_dtype(base: Base, device: str) -> Choice:
    """``bf16`` or ``fp32`` for the forward and backward matrix products; master weights and the update stay fp32."""
    if device == "cuda":
        supported = torch.cuda.is_bf16_supported()
        return Choice(
            "train.dtype",
            "bf16" if supported else "fp32",
            "the GPU computes in bf16" if supported else "no bf16 on this GPU",
        )
    if device != "cpu":
        return Choice("train.dtype", "fp32", f"bf16 is not probed on {device}")
    width = read_width(base.folder) or USUAL_WIDTH
    fp32, bf16 = (gemm_rate(width, dtype) for dtype in (torch.float32, torch.bfloat16))
    ratio = bf16 / fp32
    reason = (
        f"measured {bf16:.0f} against {fp32:.0f} GFLOP/s in fp32 at this model's width ({width}): {ratio:.1f} times"
    )
    return Choice("train.dtype", "bf16" if ratio >= WORTHWHILE else "fp32", reason)


def choose_device(wanted: str) -> Choice:
    """The device to train on: ``cuda``, ``mps`` or ``cpu``. Raises InputError for one that is not there."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        device = next(name for name, is_there in found.items() if is_there)
        return Choice("train.device", device, _why(device))
    if not found[wanted]:
        raise InputError(
            "torch finds no such device",
            where="train.device",
            given=wanted,
            allowed=", ".join(name for name, is_there in found.items() if is_there),
            hint="train.device=auto",
        )
    return Choice("train.device", wanted, "as asked")


def choose_kernels(wanted: str, device: str) -> Choice:
    """``native`` or ``torch``: what computes the element-wise parts. Native ones are for a CPU."""
    if wanted != "auto":
        return Choice("train.kernels", wanted, "as asked")
    if device != "cpu":
        return Choice("train.kernels", "torch", f"native kernels are for a CPU, this is {device}")
    found = built()
    return Choice("train.kernels", "torch" if found.library is None else "native", found.reason)


def _why(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name(0)
    return "Apple GPU found" if device == "mps" else f"no GPU found; {counted(torch.get_num_threads(), 'thread')}"


def gemm_rate(width: int, dtype: torch.dtype) -> float:
    """GFLOP/s of [TOKENS, width] @ [width, 4 width], best of several calls."""
    left = torch.ones(TOKENS, width, dtype=dtype)
    right = torch.ones(width, 4 * width, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - started)
    return 2 * TOKENS * width * 4 * width / best / 1e9
