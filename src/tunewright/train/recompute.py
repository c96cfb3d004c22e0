"""Layers that keep less and compute it again on the way back: all but their input, or the widest rows alone.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3, for whole layers, by the switch of transformers'
own. ``mlp`` is selective: what lies between the two projections of a layer's second half is more than half of what a fused
layer keeps, and one product more; stock layers know only the switch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

SWITCH = "gradient_checkpointing"
_again = partial(checkpoint, use_reentrant=False)


def set_recompute(module: torch.nn.Module, *, wanted: bool | Literal["mlp"]) -> None:
    """Switch every layer of ``module`` that can; it acts in training mode alone."""
    for layer in module.modules():
        if hasattr(layer, SWITCH):
            switched: Any = layer
            switched.gradient_checkpointing = wanted is True
            switched._gradient_checkpointing_func = _again
            switched.narrows = wanted == "mlp"


def as_stock(module: torch.nn.Module) -> None:
    """Told where stock layers compute: those that should narrow keep their input alone instead."""
    for layer in module.modules():
        if narrows(layer):
            set_recompute(layer, wanted=True)


def can_recompute(module: torch.nn.Module) -> bool:
    """Whether ``module`` has layers with the switch."""
    return any(hasattr(layer, SWITCH) for layer in module.modules())


def recomputes(layer: torch.nn.Module) -> bool:
    """Whether the layer is switched."""
    return bool(getattr(layer, SWITCH, False))


def narrows(layer: torch.nn.Module) -> bool:
    """Whether the layer makes its widest rows again."""
    return bool(getattr(layer, "narrows", False))


def through(layer: torch.nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``, which computes what the layer would; where that is switched, nothing inside it is kept."""
    if recomputes(layer) and layer.training and torch.is_grad_enabled():
        return _again(function, *arguments)
    return function(*arguments)
