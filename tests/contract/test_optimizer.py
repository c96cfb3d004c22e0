"""Every file in ``train/optimizer`` is an optimiser: it learns, obeys its groups, and remembers nothing but tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from tunewright import extensions
from tunewright.config.base import Extension, config_of
from tunewright.train import optim
from tunewright.train.optimizer.base import Group, OptimizerConfig

FAMILY = optim.FAMILY


class PlainDescent:
    """The seam's fake: the least that an optimiser can be."""

    class Config(OptimizerConfig):
        pass

    lr_factor = 300.0

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        return torch.optim.SGD([*groups])


class Adapted(nn.Module):
    """A frozen layer with an adapter, an embedding, a matrix large enough for every way of storing moments, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 64)
        self.matrix = nn.Linear(64, 96)
        self.norm = nn.LayerNorm(96)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(96, 4, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(4, 3, bias=False)})
        self.idle = nn.Linear(80, 80)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(torch.tanh(self.matrix(self.embedding(ids))))
        logits: torch.Tensor = self.lora_B["default"](self.lora_A["default"](hidden))
        return logits


IDS = torch.arange(9)
TARGET = IDS % 3


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Extension:
    if request.param != "a fake":
        return Extension(FAMILY, request.param, config_of(FAMILY, request.param)())
    monkeypatch.setattr(extensions, "load", lambda *_: PlainDescent)
    return Extension(FAMILY, "plain_descent", PlainDescent.Config())


def train(chosen: Extension, num_steps: int, lr: float = 3e-3) -> tuple[Any, torch.optim.Optimizer, list[float]]:
    torch.manual_seed(0)
    module = Adapted()
    optimizer = optim.make_optimizer(chosen, module, lr * optim.rate_factor(chosen))
    losses = []
    for _ in range(num_steps):
        loss = nn.functional.cross_entropy(module(IDS), TARGET)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return module, optimizer, losses


def test_it_lowers_the_loss_at_its_usual_rate(chosen: Extension) -> None:
    losses = train(chosen, 60)[2]
    assert losses[-1] < 0.5 * losses[0]


def test_it_moves_what_has_a_gradient_and_nothing_else(chosen: Extension) -> None:
    """A row of an embedding that never occurs stays what it was, and so does a layer that took no part."""
    before = dict(at_start().named_parameters())
    after = dict(train(chosen, 3)[0].named_parameters())
    assert torch.equal(after["embedding.weight"][9], before["embedding.weight"][9])
    assert not torch.equal(after["embedding.weight"][8], before["embedding.weight"][8])
    for name, value in after.items():
        assert torch.equal(value, before[name]) == name.startswith("idle."), name


def at_start() -> Adapted:
    torch.manual_seed(0)
    return Adapted()


def test_it_obeys_the_rate_of_each_group(chosen: Extension) -> None:
    """Each trainable parameter is in one group, which says how its rate differs; at a rate of zero nothing moves."""
    module, optimizer, _ = train(chosen, 1)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in module.parameters())
    assert {group["factor"] for group in optimizer.param_groups} == {1.0}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    torch.autograd.backward(nn.functional.cross_entropy(module(IDS), TARGET))
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_all_that_it_remembers_is_tensors(chosen: Extension) -> None:
    """So that a commit holds it; and as many steps from the same start end in the same bits."""
    module, optimizer, losses = train(chosen, 3)
    state = {name: optimizer.state[value] for name, value in module.named_parameters()}
    assert all(isinstance(value, torch.Tensor) for each in state.values() for value in each.values())
    again, _, same = train(chosen, 3)
    assert losses == same
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())
