"""Round up how many rows a product has, so that shapes come again.

For bf16 on a CPU, oneDNN makes machine code for each new shape: about a millisecond, and up to a megabyte that is kept for the
next 1,024 shapes. Flattened tokens are another number in each batch. With tokens added that nobody reads, at most one in
sixteen and one in sixty on average, there are 16 to 32 numbers to each doubling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tunewright.types import Stream

LEAST = 16
"""Rows that the vector units take together: finer steps would make more shapes and spare nothing."""


CODE_BYTES = 7_000_000
"""What the products of a layer keep for one more number of rows: twelve pieces of code, measured on AMD EPYC with AVX-512."""
MOST_KEPT = 1024 // 12
"""Numbers of rows whose code is kept: oneDNN remembers 1,024 pieces."""


def rounds(trunk: Any) -> bool:
    """Whether the trunk's products are of the kind."""
    weight = next(trunk.parameters())
    return bool(weight.dtype == torch.bfloat16 and weight.device.type == "cpu")


def round_up(number: int) -> int:
    """The next number that is kept: a multiple of a sixteenth to a 32nd of its size."""
    bits = number.bit_length() - 1
    step = max(1, min(LEAST, 1 << max(0, bits - 4)), 1 << max(0, bits - 5))
    return -(-number // step) * step


def round_stream(stream: Stream, wanted: torch.Tensor | None) -> tuple[Stream, torch.Tensor | None]:
    """The stream with one more segment, and ``wanted[W]`` with tokens of it, where their numbers are to be rounded up."""
    num_tokens = len(stream.ids)
    wanting = 0 if wanted is None else round_up(len(wanted)) - len(wanted)
    added = round_up(num_tokens + wanting) - num_tokens
    if not added:
        return stream, wanted
    none = stream.ids.new_zeros(added)
    padded = replace(
        stream,
        ids=torch.cat([stream.ids, none]),
        positions=torch.cat([stream.positions, none]),
        bounds=torch.cat([stream.bounds, stream.bounds[-1:] + added]),
        parents=(*stream.parents, -1) if stream.parents else (),
    )
    if wanted is None or not wanting:
        return padded, wanted
    return padded, torch.cat([wanted, torch.arange(num_tokens, num_tokens + wanting)])
