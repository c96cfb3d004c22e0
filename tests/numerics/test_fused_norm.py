"""The norm in one pass is the stock norm: values and gradients, in fp32 to rounding and in bf16 no further from the truth."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tunewright.train.fused.norm import FROM_ONE, PLAIN, fuse_norms


def stock(name: str) -> Any:
    """The norm of a family, with weights that are not all alike."""
    import importlib

    family = {"Gemma3": "gemma3", "SmolLM3": "smollm3"}.get(
        name.removesuffix("RMSNorm"), name.removesuffix("RMSNorm").lower()
    )
    found: Any = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    norm = getattr(found, name)(48, eps=1e-5)
    torch.manual_seed(0)
    torch.nn.init.normal_(norm.weight, mean=0.2, std=0.5)
    return norm


def run(norm: Any, x: torch.Tensor, flow: torch.Tensor) -> list[torch.Tensor]:
    """Values and gradients[x, weight]."""
    x = x.clone().requires_grad_()
    norm.zero_grad()
    y = norm(x)
    torch.autograd.backward(y, flow.to(y.dtype))
    return [y.detach(), x.grad, norm.weight.grad]


@pytest.mark.parametrize("name", sorted(PLAIN | FROM_ONE))
def test_it_is_the_stock_norm(name: str) -> None:
    plain = stock(name)
    fused = copy.deepcopy(plain)
    assert fuse_norms(torch.nn.ModuleList([fused])) == 1
    x, flow = torch.randn(2, 33, 48) * 3, torch.randn(2, 33, 48)
    right = run(plain, x, flow)
    for ours, theirs in zip(run(fused, x, flow), right, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    half_plain, half_fused = copy.deepcopy(plain).bfloat16(), copy.deepcopy(fused).bfloat16()
    fuse_norms(torch.nn.ModuleList([half_fused]))
    for ours, theirs, truth in zip(
        run(half_fused, x.bfloat16(), flow), run(half_plain, x.bfloat16(), flow), right, strict=True
    ):
        gaps = [float((each.float() - truth).norm() / truth.norm()) for each in (ours, theirs)]
        assert gaps[0] < 1.1 * gaps[1] + 1e-3, gaps


def test_a_norm_that_is_not_known_stays() -> None:
    model = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.RMSNorm(4))
    assert fuse_norms(model) == 0
