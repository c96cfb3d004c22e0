"""Layers that keep their input alone and compute the rest again on the way back (Chen et al. 2016, section 3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def set_recompute(module: torch.nn.Module, *, wanted: bool) -> None:
    """Switch every layer of ``module`` that can; the switch is transformers' own, and acts in training mode alone."""
    for layer in module.modules():
        if hasattr(layer, "gradient_checkpointing"):
            switched: Any = layer
            switched.gradient_checkpointing = wanted
            switched._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def can_recompute(module: torch.nn.Module) -> bool:
    """Whether ``module`` has layers with the switch."""
    return any(hasattr(layer, "gradient_checkpointing") for layer in module.modules())
