"""Put the fused computation into a module that is there to compute: the copy of ``worker``, which nobody else holds."""

from __future__ import annotations

import torch

from tunewright.infer.flat import FUSED, is_flat
from tunewright.infer.native.functions import kernels
from tunewright.train.fused.bert import BertTrunk
from tunewright.train.fused.join import Joined
from tunewright.train.fused.llama import LlamaTrunk
from tunewright.train.fused.norm import fuse_norms

FAMILIES = (LlamaTrunk, BertTrunk)


def fuse(module: torch.nn.Module) -> list[Joined]:
    """Fuse what is known of ``module`` on this machine, in place; returns the parameters that were joined."""
    trunk = getattr(module, "trunk", None)
    native = kernels()
    if native is not None and trunk is not None and is_flat(trunk) and not _recomputes(trunk):
        for family in FAMILIES:
            if family.fits(trunk):
                computing = family(trunk, native)
                setattr(trunk, FUSED, computing)
                return computing.joined
    fuse_norms(module)
    return []


def _recomputes(trunk: torch.nn.Module) -> bool:
    """Whether layers keep one state and compute the rest again, which is the stock modules' to do."""
    return any(getattr(layer, "gradient_checkpointing", False) for layer in trunk.modules())
