"""What is cheap to make is not kept for the way back, but made again: norms, gates and activations.

They are a third of what a layer would keep, and take a hundredth of its time (selective recomputation, Korthikanti et al. 2022,
"Reducing Activation Recomputation in Large Transformer Models", section 5). The same function of the same numbers gives the same
bits. A layer that keeps nothing but its input makes everything again (Chen et al. 2016, "Training Deep Nets with Sublinear
Memory Cost", section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

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


def through(layer: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``; where ``layer`` is to compute again, nothing inside it is kept."""
    if not (computes_again(layer) and layer.training and torch.is_grad_enabled()):
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False)


def computes_again(layer: Any) -> bool:
    """Whether the layer keeps its input alone while it is trained: the switch of transformers' own layers."""
    return bool(getattr(layer, "gradient_checkpointing", False))


def _bring(kept: torch.Tensor | Again) -> torch.Tensor:
    if isinstance(kept, torch.Tensor):
        return kept
    with torch.no_grad():
        return kept()
