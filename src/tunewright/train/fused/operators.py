"""The kernels as differentiable operators on rows[N, H]. What the backward pass needs is kept, nothing more."""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.native.functions import Dropout, Gate, Kernels, new_dropout

Pair = tuple[torch.Tensor, torch.Tensor]


def add_rms_norm(
    kernels: Kernels, x: torch.Tensor, add: torch.Tensor, weight: torch.Tensor, epsilon: float, *, from_one: bool = False
) -> Pair:  # fmt: skip
    """s = x + add, and w s / sqrt(mean(s^2) + epsilon) (Zhang and Sennrich 2019, equation 4)."""
    found: Pair = _AddRmsNorm.apply(x, add, weight, (kernels, epsilon, from_one))  # type: ignore[no-untyped-call]
    return found


def rms_norm(
    kernels: Kernels, x: torch.Tensor, weight: torch.Tensor, epsilon: float, *, from_one: bool = False
) -> torch.Tensor:
    """The norm alone."""
    found: torch.Tensor = _RmsNorm.apply(x, weight, (kernels, epsilon, from_one))  # type: ignore[no-untyped-call]
    return found


def add_layer_norm(
    kernels: Kernels, x: torch.Tensor, add: torch.Tensor, layer: torch.nn.LayerNorm, dropout: float = 0.0
) -> torch.Tensor:
    """The layer's norm of dropout(x) + add (Ba et al. 2016, equation 4)."""
    settings = (kernels, layer.eps, new_dropout(dropout))
    found: torch.Tensor = _AddLayerNorm.apply(x, add, layer.weight, layer.bias, settings)  # type: ignore[no-untyped-call]
    return found


def drop(kernels: Kernels, x: torch.Tensor, dropout: float) -> torch.Tensor:
    """dropout(x) (Srivastava et al. 2014, section 4)."""
    if not dropout:
        return x
    found: torch.Tensor = _Drop.apply(x, kernels, new_dropout(dropout))  # type: ignore[no-untyped-call]
    return found


def gated(kernels: Kernels, name: Gate, x: torch.Tensor) -> torch.Tensor:
    """The gated unit [N, H] of [a, b][N, 2H]."""
    found: torch.Tensor = _Gated.apply(x, kernels, name)  # type: ignore[no-untyped-call]
    return found


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
    ) -> torch.Tensor:
        kernels, epsilon, dropout = settings
        total, y, means, scales = kernels.layer_norm(x.contiguous(), add.contiguous(), weight, bias, epsilon, dropout)
        ctx.save_for_backward(total, weight, means, scales)
        ctx.settings = settings
        found: torch.Tensor = y
        return found

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
