"""A fused trunk is the stock trunk: states and every gradient no further from fp32 than the stock modules in bf16 are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from families import FAMILIES, flattened, stock, stream_of
from tunewright.infer.flat import FUSED
from tunewright.infer.forward import run_trunk
from tunewright.infer.native.functions import kernels, use_kernels
from tunewright.train.fused import bert, llama
from tunewright.train.worker import Worker

KNOWN = sorted(llama.FAMILIES | bert.FAMILIES)


class Holder(torch.nn.Module):
    """What a task's module is to the engine: something with a trunk."""

    def __init__(self, trunk: torch.nn.Module) -> None:
        super().__init__()
        self.trunk = trunk


def gradients(model: Any, dtype: str, *, wanted: bool) -> tuple[Any, list[torch.Tensor]]:
    """The module that computed; the states, and every parameter's gradient as the original gets it."""
    holder = Holder(copy.deepcopy(model))
    use_kernels(wanted)
    try:
        worker: Any = Worker(holder, dtype)
        stream = stream_of()
        hidden = run_trunk(worker.module.trunk, stream)
        torch.manual_seed(1)
        flow = torch.randn(hidden.shape)
        torch.autograd.backward(hidden, flow.to(hidden.dtype))
    finally:
        use_kernels(True)
    grads = [each.grad for each in holder.parameters()]
    return worker.module.trunk, [hidden.detach().float(), *(each for each in grads if each is not None)]


@pytest.mark.parametrize("name", KNOWN)
def test_states_and_gradients_equal_the_stock_modules(name: str) -> None:
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    _, exact = gradients(model, "fp32", wanted=False)
    plain, theirs = gradients(model, "bf16", wanted=False)
    fused, ours = gradients(model, "bf16", wanted=True)
    assert getattr(fused, FUSED, None) is not None
    assert getattr(plain, FUSED, None) is None
    assert len(ours) == len(theirs) == len(exact)
    least = 0.02 * max(float(right.norm()) for right in exact)  # the gradient of a key's bias is zero but for rounding
    for mine, other, right in zip(ours, theirs, exact, strict=True):
        scale = max(least, float(right.norm()))
        gaps = float((mine - right).norm()) / scale, float((other - right).norm()) / scale
        assert gaps[0] < 1.25 * gaps[1] + 2e-3, gaps


def test_a_family_that_is_not_known_keeps_the_stock_modules() -> None:
    unknown = sorted(FAMILIES.keys() - {*KNOWN})
    assert unknown
    for name in unknown:
        trunk, _ = gradients(flattened(stock(name)), "bf16", wanted=True)
        assert getattr(trunk, FUSED, None) is None


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_frozen_and_adapted_projections_are_not_joined_wrongly(name: str) -> None:
    """With one of three projections frozen, each is called by itself, and the frozen one gets no gradient."""
    if kernels() is None:
        pytest.skip("no C compiler")
    model = flattened(stock(name))
    frozen = [key for key, _ in model.named_parameters() if ".key." in key or "k_proj" in key]
    assert frozen
    for key, value in model.named_parameters():
        value.requires_grad_(key not in frozen)
    _, ours = gradients(model, "bf16", wanted=True)
    _, theirs = gradients(model, "bf16", wanted=False)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).norm()) < 0.05 * (float(other.norm()) + 0.1)
