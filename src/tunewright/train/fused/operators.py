"""The kernels as differentiable operators on rows[N, H]. What the backward pass needs is kept, nothing more.

``forgets`` says that what comes out is made again on the way back, by whoever reads it (``kept.apply``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.infer.native.functions import NO_DROPOUT, Dropout, Gate, Kernels, new_dropout
from tunewright.train.fused.kept import Made, apply, rows_again

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """w s / sqrt(mean(s^2) + epsilon) (Zhang and Sennrich 2019, equation 4); ``from_one``: w - 1 is what is kept."""

    kernels: Kernels
    from_one: bool
    forgets: bool

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> Made:
        """The norm of x[N, H]."""
        y: torch.Tensor = _RmsNorm.apply(x, weight, self._settings(epsilon))  # type: ignore[no-untyped-call]
        return self._made(y, x, weight, epsilon)

    def add(
        self, x: torch.Tensor, add: torch.Tensor, weight: torch.Tensor, epsilon: float
    ) -> tuple[torch.Tensor, Made]:
        """s = x + add, and its norm."""
        total, y = _AddRmsNorm.apply(x, add, weight, self._settings(epsilon))  # type: ignore[no-untyped-call]
        return total, self._made(y, total, weight, epsilon)

    def _settings(self, epsilon: float) -> tuple[Kernels, float, bool]:
        return self.kernels, epsilon, self.from_one

    def _made(self, y: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> Made:
        if not self.forgets:
            return Made(y, None)
        source, scale = x.detach().contiguous(), weight.detach()
        return Made(y, lambda: self.kernels.rms_norm(source, None, scale, self.from_one, epsilon)[1])


def add_layer_norm(
    kernels: Kernels,
    x: torch.Tensor,
    add: torch.Tensor,
    layer: torch.nn.LayerNorm,
    dropout: float = 0.0,
    *,
    forgets: bool = False,
) -> Made:
    """The layer's norm of dropout(x) + add (Ba et al. 2016, equation 4)."""
    settings = (kernels, layer.eps, new_dropout(dropout))
    y, total = _AddLayerNorm.apply(x, add, layer.weight, layer.bias, settings)  # type: ignore[no-untyped-call]
    if not forgets:
        return Made(y, None)
    weight, bias = layer.weight.detach(), layer.bias.detach()
    return Made(y, lambda: kernels.layer_norm(total, None, weight, bias, layer.eps, NO_DROPOUT)[1])


def drop(kernels: Kernels, x: torch.Tensor, dropout: float) -> torch.Tensor:
    """dropout(x) (Srivastava et al. 2014, section 4)."""
    if not dropout:
        return x
    found: torch.Tensor = _Drop.apply(x, kernels, new_dropout(dropout))  # type: ignore[no-untyped-call]
    return found


def gated(kernels: Kernels, name: Gate, x: Made, *, forgets: bool = False) -> Made:
    """The gated unit [N, H] of [a, b][N, 2H]."""
    y = apply(lambda rows: _Gated.apply(rows, kernels, name), x)  # type: ignore[no-untyped-call]
    source = rows_again(x)
    return Made(y, (lambda: kernels.gated(name, source())) if forgets else None)


def activated(function: Callable[[torch.Tensor], torch.Tensor], x: Made, *, forgets: bool = False) -> Made:
    """function(x), an activation of torch."""
    y, source = apply(function, x), rows_again(x)
    return Made(y, (lambda: function(source())) if forgets else None)


class _AddRmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, add: torch.Tensor, weight: torch.Tensor, settings: Any) -> Pair:
        kernels, epsilon, from_one = settings
        total, y, scales = kernels.rms_norm(x.contiguous(), add.contiguous(), weight, from_one, epsilon)
        ctx.save_for_backward(total, weight, scales)
        ctx.settings = settings
        return total, y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        total, weight, scales = ctx.saved_tensors
        kernels, _, from_one = ctx.settings
        more, flow = (each.contiguous() for each in grads)
        grad, of_weight = kernels.rms_norm_back(flow, total, weight, from_one, scales, more, ctx.needs_input_grad[2])
        return grad, grad, of_weight, None


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, settings: Any) -> torch.Tensor:
        kernels, epsilon, from_one = settings
        x = x.contiguous()
        _, y, scales = kernels.rms_norm(x, None, weight, from_one, epsilon)
        ctx.save_for_backward(x, weight, scales)
        ctx.settings = settings
        found: torch.Tensor = y
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        x, weight, scales = ctx.saved_tensors
        kernels, _, from_one = ctx.settings
        flow = grads[0].contiguous()
        grad, of_weight = kernels.rms_norm_back(flow, x, weight, from_one, scales, None, ctx.needs_input_grad[1])
        return grad, of_weight, None


class _AddLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, add: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, settings: Any
    ) -> Pair:
        kernels, epsilon, dropout = settings
        total, y, means, scales = kernels.layer_norm(x.contiguous(), add.contiguous(), weight, bias, epsilon, dropout)
        ctx.save_for_backward(total, weight, means, scales)
        ctx.settings = settings
        ctx.mark_non_differentiable(total)
        ctx.set_materialize_grads(False)
        return y, total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        kernels, _, dropout = ctx.settings
        return *kernels.layer_norm_back(grads[0].contiguous(), *ctx.saved_tensors, dropout), None


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernels: Kernels, dropout: Dropout) -> torch.Tensor:
        ctx.kernels, ctx.dropout = kernels, dropout
        return kernels.drop(x.contiguous(), dropout)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return ctx.kernels.drop(grads[0].contiguous(), ctx.dropout), None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernels: Kernels, name: Gate) -> torch.Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        ctx.kernels, ctx.name = kernels, name
        return kernels.gated(name, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return ctx.kernels.gated_back(ctx.name, grads[0].contiguous(), *ctx.saved_tensors), None, None
