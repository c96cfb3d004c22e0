"""Adapted layers that read the same input, as one: y = x W' + s drop(x) A' B' (Hu et al. 2021, equation 3).

W gets no gradient. The rows of the A lie one under the other, and so do those of the B; what joins them is a matrix of blocks
D[N, R] with s B on its diagonal. Shape letters: T tokens, H input width, N outputs of all layers, R ranks of all adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunewright.infer.native.functions import Kernels, new_dropout


@dataclass(frozen=True, slots=True)
class LowRank:
    """An adapted layer taken apart: its frozen base, A, B, s, and the dropout before A."""

    base: nn.Linear
    first: nn.Linear
    second: nn.Linear
    scale: float
    dropout: nn.Module

    @property
    def chance(self) -> float:
        """Of being dropped, now."""
        return float(getattr(self.dropout, "p", 0.0)) if self.dropout.training else 0.0


def take_apart(layer: Any) -> LowRank | None:
    """The parts of peft's linear layer with one adapter of the plain kind; None for anything else."""
    from peft.tuners.lora.layer import Linear

    if type(layer) is not Linear or layer.merged or layer.disable_adapters or layer.fan_in_fan_out:
        return None
    base, names = layer.base_layer, list(layer.lora_A.keys())
    if type(base) is not nn.Linear or base.weight.requires_grad or names != list(layer.active_adapters):
        return None
    if len(names) != 1 or names[0] in layer.lora_variant or layer.lora_bias.get(names[0], False):
        return None
    (name,) = names
    first: Any = layer.lora_A[name]
    second: Any = layer.lora_B[name]
    return LowRank(base, first, second, float(layer.scaling[name]), layer.lora_dropout[name])


class JoinedLowRank:
    """Computes several adapted layers at once."""

    def __init__(self, kernels: Kernels, layers: Sequence[LowRank], weights: Sequence[nn.Parameter | None]) -> None:
        """``weights``: W[N, H], its bias[N] or None, A[R, H] and B, whose rows[N, r] lie one under the other."""
        self.kernels = kernels
        self.layers = layers
        self.weight, self.bias, self.first, self.second = weights
        self.sizes = [len(layer.base.weight) for layer in layers]
        self.ranks = [len(layer.first.weight) for layer in layers]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[T, H] -> [T, N]."""
        assert self.second is not None
        pieces = torch.split(self.second, self.sizes)
        blocks = torch.block_diag(  # type: ignore[no-untyped-call]
            *(piece * layer.scale for piece, layer in zip(pieces, self.layers, strict=True))
        )
        settings = (self.kernels, self.layers[0].chance)
        y: torch.Tensor = _Adapted.apply(x, self.weight, self.bias, self.first, blocks, settings)  # type: ignore[no-untyped-call]
        return y


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        first: torch.Tensor,
        blocks: torch.Tensor,
        settings: tuple[Kernels, float],
    ) -> torch.Tensor:
        kernels, chance = settings
        dropout = new_dropout(chance)
        read = kernels.drop(x.contiguous(), dropout) if chance else x
        inner = read @ first.T
        y = nn.functional.linear(x, weight, bias).addmm_(inner, blocks.T)
        ctx.save_for_backward(read, weight, first, blocks, inner)
        ctx.kernels, ctx.dropout = kernels, dropout
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        read, weight, first, blocks, inner = ctx.saved_tensors
        (flow,) = grads
        of_inner = flow @ blocks
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = flow @ weight
            if ctx.dropout.least:
                of_x += ctx.kernels.drop((of_inner @ first).contiguous(), ctx.dropout)
            else:
                of_x.addmm_(of_inner, first)
        return of_x, None, None, of_inner.T @ read, flow.T @ inner, None
