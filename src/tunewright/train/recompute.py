"""Layers that keep their input alone and compute the rest again on the way back.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3. The switch is that of transformers' own layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

SWITCH = "gradient_checkpointing"
_again = partial(checkpoint, use_reentrant=False)


def set_recompute(module: torch.nn.Module, *, wanted: bool) -> None:
    """Switch every layer of ``module`` that can; it acts in training mode alone."""
    for layer in module.modules():
        if hasattr(layer, SWITCH):
            switched: Any = layer
            switched.gradient_checkpointing = wanted
            switched._gradient_checkpointing_func = _again


def can_recompute(module: torch.nn.Module) -> bool:
    """Whether ``module`` has layers with the switch."""
    return any(hasattr(layer, SWITCH) for layer in module.modules())


def recomputes(layer: torch.nn.Module) -> bool:
    """Whether the layer is switched."""
    return bool(getattr(layer, SWITCH, False))


def through(layer: torch.nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``, which computes what the layer would; where that is switched, nothing inside it is kept."""
    if recomputes(layer) and layer.training and torch.is_grad_enabled():
        return _again(function, *arguments)
    return function(*arguments)
