"""Layers that read the same input, as one product: their weights lie in one matrix, row under row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunewright.infer.native.functions import Kernels
from tunewright.train.fused.kept import Apply
from tunewright.train.fused.lowrank import JoinedLowRank, take_apart


@dataclass(frozen=True, slots=True)
class Joined:
    """One parameter that stands for several: their rows in order."""

    whole: nn.Parameter
    parts: tuple[nn.Parameter, ...]


def join(kernels: Kernels, layers: Sequence[nn.Module]) -> tuple[Apply, list[Joined]]:
    """What the layers give side by side: linear layers that train alike become one, and so do adapted ones.

    What is neither is called layer by layer.
    """
    plain: list[Any] = [layer for layer in layers if type(layer) is nn.Linear]
    if len(plain) == len(layers) and _are_alike(plain):
        if len(plain) == 1:
            return plain[0], []
        joined = _join_linear(plain)
        weight, bias = _wholes(joined)
        return lambda x: nn.functional.linear(x, weight, bias), joined
    parts: list[Any] = [found for layer in layers if (found := take_apart(layer)) is not None]
    bases = [part.base for part in parts]
    if len(parts) < len(layers) or not _are_alike(bases) or len({part.chance for part in parts}) > 1:
        return (layers[0] if len(layers) == 1 else lambda x: torch.cat([layer(x) for layer in layers], dim=-1)), []
    first, second = _stack([part.first.weight for part in parts]), _stack([part.second.weight for part in parts])
    joined = _join_linear(bases)
    return JoinedLowRank(kernels, parts, [*_wholes(joined), first.whole, second.whole]), [*joined, first, second]


def _are_alike(layers: Sequence[Any]) -> bool:
    return len({(layer.bias is None, layer.weight.requires_grad) for layer in layers}) == 1


def _wholes(joined: Sequence[Joined]) -> tuple[nn.Parameter, nn.Parameter | None]:
    return joined[0].whole, joined[1].whole if len(joined) > 1 else None


def _join_linear(layers: Sequence[Any]) -> list[Joined]:
    """The joined weight and, where there is one, the joined bias; the layers keep views of them, to be read."""
    names = ["weight"] if layers[0].bias is None else ["weight", "bias"]
    joined = []
    for name in names:
        each = _stack([getattr(layer, name) for layer in layers])
        joined.append(each)
        for layer, rows in zip(
            layers, torch.split(each.whole.detach(), [len(part) for part in each.parts]), strict=True
        ):
            delattr(layer, name)
            setattr(layer, name, rows)
    return joined


def _stack(parts: Sequence[nn.Parameter]) -> Joined:
    whole = torch.cat([part.detach() for part in parts])
    return Joined(nn.Parameter(whole, requires_grad=parts[0].requires_grad), tuple(parts))
