"""The bf16 copy computes, the original is trained: small steps count, gradients add up in fp32, frozen weights are left alone."""

from __future__ import annotations

from typing import Any

import torch

from tunewright.train.worker import Worker


def layers() -> Any:
    """Two layers that share a weight, a frozen one, and a buffer."""
    torch.manual_seed(0)
    model: Any = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 1))
    model[1].weight = model[0].weight
    model[2].requires_grad_(False)
    model.register_buffer("frequencies", torch.tensor([1.0 / 3.0]))
    return model


def backward(worker: Worker, x: torch.Tensor) -> None:
    torch.autograd.backward(worker.module(x).float().sum())


def test_the_copy_is_bf16_and_the_original_stays() -> None:
    model = layers()
    worker: Any = Worker(model, "bf16")
    assert worker.module is not model
    assert {each.dtype for each in worker.module.parameters()} == {torch.bfloat16}
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert worker.module[0].weight is worker.module[1].weight, "what is shared stays shared"
    assert worker.module.frequencies.dtype == torch.float32, "buffers keep their precision"


def test_in_fp32_the_original_computes() -> None:
    model = layers()
    assert Worker(model, "fp32").module is model


def test_gradients_of_micro_batches_add_up_in_fp32() -> None:
    model = layers()
    worker: Any = Worker(model, "bf16")
    alone = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        x = torch.randn(4, 8).bfloat16()
        model.zero_grad()
        backward(worker, x)
        assert model[0].weight.grad is not None
        alone.append(model[0].weight.grad.clone())
    model.zero_grad()
    for seed in (1, 2):
        torch.manual_seed(seed)
        backward(worker, torch.randn(4, 8).bfloat16())
    assert model[0].weight.grad is not None
    assert model[0].weight.grad.dtype == torch.float32
    assert torch.equal(model[0].weight.grad, alone[0] + alone[1])
    assert all(each.grad is None for each in worker.module.parameters()), "the copy's gradients are let go"
    assert model[2].weight.grad is None


def test_steps_smaller_than_bf16_can_tell_are_not_lost() -> None:
    model = layers()
    worker: Any = Worker(model, "bf16")
    before = model[0].bias.detach().clone()
    with torch.no_grad():
        for _ in range(200):
            model[0].bias += before.abs() * 1e-4  # a 40th of what bf16 can tell
            worker.take_up()
    assert torch.allclose(model[0].bias, before + before.abs() * 0.02, rtol=1e-3)
    assert torch.equal(worker.module[0].bias, model[0].bias.bfloat16())
    assert not torch.equal(worker.module[0].bias, before.bfloat16())
