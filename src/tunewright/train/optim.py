"""The optimiser over a module: which parameters decay, and how fast each layer moves.

Layer-wise decay of the rate (Howard and Ruder 2018, "ULMFiT", section 3.2; Clark et al. 2020, "ELECTRA", appendix B): the
head moves by the scheduled rate, each layer below by ``layer_decay`` times that of the layer above, the embeddings by the least.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from tunewright import extensions
from tunewright.config.base import Extension
from tunewright.train.optimizer.base import Direct, Group, Halves, Kind, Optimizer
from tunewright.train.split import rest_of

FAMILY = "train.optimizer"
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")
_SCALE = re.compile(r"(?:^|\.)ia3_l\.")
_ADAPTER = re.compile(r"(?:^|\.)lora_[AB]\.")


def make_optimizer(
    chosen: Extension,
    module: torch.nn.Module,
    lr: float,
    layer_decay: float = 1.0,
    rates: Mapping[str, float] = MappingProxyType({}),
) -> torch.optim.Optimizer:
    """The optimiser over the module's trainable parameters. Raises InputError where it does not fit them.

    ``rates``: factors of the rate for parameters whose names match a regular expression.
    """
    groups = parameter_groups(module, layer_decay, rates)
    for group in groups:
        decays = group["kind"] != "other"
        group.update(
            lr=lr * group["factor"], weight_decay=getattr(chosen.config, "weight_decay", 0.0) if decays else 0.0
        )
    optimizer: Optimizer = extensions.load(FAMILY, chosen.name)(chosen.config)
    built = optimizer.build(groups)
    is_split = any(rest_of(parameter) is not None for parameter in module.parameters() if parameter.requires_grad)
    return Halves(built) if is_split and not isinstance(built, Direct) else built


def rate_factor(chosen: Extension) -> float:
    """What the rate that is usual for adamw is multiplied by."""
    factor: float = extensions.load(FAMILY, chosen.name).lr_factor  # type: ignore[attr-defined]
    return factor


def parameter_groups(
    module: torch.nn.Module, layer_decay: float = 1.0, rates: Mapping[str, float] = MappingProxyType({})
) -> list[Group]:
    """The trainable parameters by their kind and by the factor of their rate.

    Matrices decay, whatever else there is does not. An embedding row that never occurs must stay what it was; a bias or a
    scale at zero is no simpler model, and neither is a factor of (IA)3.
    """
    embeddings = {id(layer.weight) for layer in module.modules() if isinstance(layer, torch.nn.Embedding)}
    heights = _heights(module)
    groups: dict[tuple[Kind, float], Group] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            kind: Kind = "adapter" if _ADAPTER.search(name) else "matrix"
            if parameter.dim() < 2 or id(parameter) in embeddings or _SCALE.search(name):
                kind = "other"
            own = [rate for pattern, rate in rates.items() if re.search(pattern, name)]
            factor = math.prod(own, start=layer_decay ** heights.get(id(parameter), 0))
            group = groups.setdefault((kind, factor), {"params": [], "kind": kind, "factor": factor})
            group["params"].append(parameter)
    return [*groups.values()]


def _heights(module: Any) -> dict[int, int]:
    """How many layers below the head each parameter of the trunk lies: the embeddings, which come first, lie lowest.

    A final norm or a pooler moves with the topmost layer.
    """
    found, depth = {}, 0
    for name, parameter in module.trunk.named_parameters() if hasattr(module, "trunk") else ():
        layer = _LAYER.search(name)
        depth = int(layer[1]) + 1 if layer else depth
        found[id(parameter)] = depth
    top = max(found.values(), default=0) + 1
    return {key: top - depth for key, depth in found.items()}
