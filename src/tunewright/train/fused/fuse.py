"""Put the fused computation into a module that is there to compute: that of ``worker``, which nobody else holds."""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.flat import FUSED, is_flat
from tunewright.infer.native.functions import kernels
from tunewright.train.fused.bert import BertTrunk
from tunewright.train.fused.gemma import GemmaTrunk
from tunewright.train.fused.join import Joined
from tunewright.train.fused.llama import LlamaTrunk
from tunewright.train.fused.norm import fuse_norms
from tunewright.train.recompute import as_stock

FAMILIES = (LlamaTrunk, GemmaTrunk, BertTrunk)


def can_fuse(module: torch.nn.Module, dtype: torch.dtype) -> bool:
    """Whether ``module`` would be fused, on this machine and in this precision."""
    return _kind(module) is not None and kernels(dtype) is not None


def fuse(module: torch.nn.Module, dtype: torch.dtype) -> list[Joined]:
    """Fuse what is known of ``module`` on this machine, in place; returns the parameters that were joined."""
    kind, native = _kind(module), kernels(dtype)
    if kind is None or native is None:
        fuse_norms(module)
        as_stock(module)
        return []
    trunk: Any = module.trunk
    computing = kind(trunk, native)
    setattr(trunk, FUSED, computing)
    return computing.joined


def _kind(module: torch.nn.Module) -> type[LlamaTrunk | BertTrunk] | None:
    """What computes the module's trunk, if one is made for it."""
    trunk: Any = getattr(module, "trunk", None)
    if trunk is None or not is_flat(trunk) or next(trunk.parameters()).device.type != "cpu":
        return None
    return next((family for family in FAMILIES if family.fits(trunk)), None)
