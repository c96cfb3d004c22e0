"""What is cheap to make is not kept for the way back, but made again: norms, gates and activations.

They are a third of what a layer would keep, and take a hundredth of its time (selective recomputation, Korthikanti et al. 2022,
"Reducing Activation Recomputation in Large Transformer Models", section 5). The same function of the same numbers gives the same
bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

Apply = Callable[[torch.Tensor], torch.Tensor]
Again = Callable[[], torch.Tensor]


class Made(NamedTuple):
    """Rows[N, H], and what makes them again from tensors that are kept anyway; None: the rows themselves are kept."""

    rows: torch.Tensor
    again: Again | None


def apply(layer: Apply, made: Made) -> torch.Tensor:
    """``layer(made.rows)``, whose way back makes the rows again where it needs them."""
    again = made.again
    if again is None or not torch.is_grad_enabled():
        return layer(made.rows)
    place, shape = made.rows.data_ptr(), made.rows.shape

    def keep(tensor: torch.Tensor) -> torch.Tensor | Again:
        return again if tensor.data_ptr() == place and tensor.shape == shape else tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, _bring):
        return layer(made.rows)


def _bring(kept: torch.Tensor | Again) -> torch.Tensor:
    if isinstance(kept, torch.Tensor):
        return kept
    with torch.no_grad():
        return kept()
