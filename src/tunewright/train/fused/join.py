"""Layers that read the same input, as one product: their weights lie in one matrix, row under row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Apply = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Joined:
    """One parameter that stands for several: their rows in order."""

    whole: nn.Parameter
    parts: tuple[nn.Parameter, ...]


def join(layers: Sequence[nn.Module]) -> tuple[Apply, list[Joined]]:
    """What the layers give side by side; linear layers that train alike become one, adapted ones are called one by one."""
    plain: list[Any] = [layer for layer in layers if type(layer) is nn.Linear]
    kinds = {(layer.bias is None, layer.weight.requires_grad) for layer in plain}
    if len(plain) < len(layers) or len(kinds) != 1:
        return lambda x: torch.cat([layer(x) for layer in layers], dim=-1), []
    weight = _stack([layer.weight for layer in plain])
    joined = [weight]
    if plain[0].bias is not None:
        joined.append(_stack([layer.bias for layer in plain]))
    bias = joined[1].whole if len(joined) > 1 else None
    for name, each in zip(("weight", "bias"), joined, strict=False):
        for layer, rows in zip(
            plain, torch.split(each.whole.detach(), [len(part) for part in each.parts]), strict=True
        ):
            delattr(layer, name)
            setattr(layer, name, rows)  # still there to be read, as a view of the whole
    return lambda x: nn.functional.linear(x, weight.whole, bias), joined


def _stack(parts: Sequence[nn.Parameter]) -> Joined:
    whole = torch.cat([part.detach() for part in parts])
    return Joined(nn.Parameter(whole, requires_grad=parts[0].requires_grad), tuple(parts))
