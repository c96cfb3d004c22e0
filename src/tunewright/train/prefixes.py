"""Whether a module may read what rows share once for all of them (``infer/prefixes``), with gradients that stay exact."""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.flat import is_flat


def reads_flat(module: torch.nn.Module) -> bool:
    """Whether the trunk reads flattened tokens, so that nothing is padded."""
    trunk: Any = getattr(module, "trunk", None)
    return hasattr(trunk, "config") and is_flat(trunk)


def can_share(module: torch.nn.Module) -> bool:
    """Whether it is a causal language model on flattened tokens and draws no dropout, which rows would then share, too."""
    if not getattr(module, "weighs_tokens", False) or not reads_flat(module):
        return False
    trunk: Any = module.trunk
    config = trunk.config
    draws = any(isinstance(layer, torch.nn.Dropout) and layer.p > 0.0 for layer in module.modules())
    return not draws and not getattr(config, "attention_dropout", 0.0) and not getattr(config, "attn_pdrop", 0.0)
