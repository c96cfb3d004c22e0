"""A masked update changes no bit, on the host's way and on the device's; a finite one is the optimiser's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.train.mask import masked_step


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))


class Far(torch.Tensor):
    """A flag that says that it lies on another device, so that the fused way is taken."""

    device = torch.device("cuda")


def flag(value: bool, *, far: bool) -> torch.Tensor:
    return torch.tensor(value).as_subclass(Far) if far else torch.tensor(value)


@pytest.mark.parametrize("far", [False, True], ids=["asked on the host", "masked by the optimiser"])
@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_only_finite_updates_reach_weights_and_moments(make: Any, far: bool) -> None:
    options = {"lr": 0.1, "fused": True, **({"momentum": 0.9} if make is torch.optim.SGD else {})}
    masked, plain = parameter(), parameter()
    tested, wanted = make([masked], **options), make([plain], **options)
    for finite in (True, False, True, False):
        for each in (masked, plain):
            each.grad = torch.tensor([0.5, 0.1, -0.2]) if finite else torch.tensor([float("nan"), 1.0, float("inf")])
        masked_step(tested, flag(finite, far=far))
        if finite:
            wanted.step()
        assert torch.equal(masked, plain)
        for name, value in wanted.state[plain].items():
            assert value is None or torch.equal(tested.state[masked][name], value), name
        assert not hasattr(tested, "found_inf")


def test_an_optimiser_that_reads_no_flag_is_asked_on_the_host() -> None:
    weight = parameter()
    weight.grad = torch.full((3,), float("nan"))
    masked_step(torch.optim.Adagrad([weight], lr=0.1), flag(False, far=True))
    assert torch.equal(weight, parameter())
