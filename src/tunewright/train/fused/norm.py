"""Root-mean-square norms in one pass: torch's own kernel in place of the five that transformers' module takes.

y = w x / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019, equation 4), with fp32 inside. Gemma keeps w - 1 as its weight.
Only norms whose source is known are replaced; any other stays as it is.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch

PLAIN = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "SmolLM3RMSNorm"})
FROM_ONE = frozenset({"Gemma3RMSNorm"})


def fuse_norms(model: torch.nn.Module) -> int:
    """Replace the forward of every known norm in ``model``, in place; returns how many there were."""
    found = 0
    for module in model.modules():
        name = type(module).__name__
        if name in PLAIN | FROM_ONE:
            module.forward = MethodType(_plain if name in PLAIN else _from_one, module)
            found += 1
    return found


def _plain(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(hidden, module.weight.shape, module.weight, module.variance_epsilon)


def _from_one(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    weight = (1.0 + module.weight.float()).to(hidden.dtype)
    return torch.nn.functional.rms_norm(hidden, module.weight.shape, weight, module.eps)
