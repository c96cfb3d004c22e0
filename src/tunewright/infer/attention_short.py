"""Attention of segments that see few keys, by one kernel: nothing is laid out, padded or kept but a sum to a row.

Products of such segments are too small to be worth a call each: a batch of short texts spends more time laying them side by side
than multiplying. Shape letters: T tokens, H heads of queries, G of keys, D width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tunewright.infer.native.functions import Dropout, Kernels, Rows, new_dropout
from tunewright.infer.segments import Short


@dataclass(frozen=True, slots=True)
class KeptShort:
    """What the backward pass needs: the rows, the logarithm of each row's sum of exponentials[H, T], and the mask."""

    native: Kernels
    short: Short
    rows: Rows
    sums: torch.Tensor
    mask: Dropout


def read_short(
    native: Kernels, rows: Rows, read: torch.Tensor, short: Short, *, scale: float, window: int, dropout: float
) -> KeptShort:
    """Write what the queries read into ``read[T, H, D]``; ``window`` 0 looks both ways."""
    q, k, v = (each if each.stride(2) == 1 else each.contiguous() for each in rows)
    sums, mask = read.new_empty(read.shape[1], len(read), dtype=torch.float32), new_dropout(dropout)
    native.attend((q, k, v), read, sums, short, window=window, scale=scale, dropout=mask)
    return KeptShort(native, short, (q, k, v), sums, mask)


def grade_short(kept: KeptShort, flow: torch.Tensor, targets: Rows, *, scale: float, window: int) -> torch.Tensor:
    """Write the gradients into ``targets``; what flows back to parents is returned, for ``add_to_parents``."""
    return kept.native.attend_back(
        flow.contiguous(), kept.rows, kept.sums, targets, kept.short, window=window, scale=scale, dropout=kept.mask
    )


def add_to_parents(short: Short, spill: torch.Tensor, targets: Rows) -> None:
    """Add what flows back to the keys and values of parents, once their own gradients are written."""
    for before, firsts in short.families:
        size = before.stop - before.start
        for target, part in zip(targets[1:], spill, strict=True):
            target[before] += torch.stack([part[first : first + size] for first in firsts]).sum(0).to(target.dtype)
