"""Every file in ``adapt/method`` is a Method: what it wraps computes what it computed, trains, and folds back."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tunewright import extensions
from tunewright.config.base import config_of
from tunewright.errors import InputError
from tunewright.seams import Method
from tunewright.types import Objective, Phase, Trainable

FAMILY = "adapt.method"
OBJECTIVE = Objective("cross_entropy")


class ScaledOutput(nn.Module):
    """A module with one more number, which multiplies what it computes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.module(batch) * self.scale
        return scaled


class OneNumber:
    """The seam's fake: trains a scale beside the frozen module, and folds it into the last layer."""

    def wrap(self, module: nn.Module, objective: Objective) -> Trainable:
        return Trainable(ScaledOutput(module), (Phase(objective, "^scale$"),))

    def fold(self, trainable: Trainable) -> nn.Module:
        wrapped: Any = trainable.module
        layer = wrapped.module[-1]
        with torch.no_grad():
            layer.weight.mul_(wrapped.scale)
            layer.bias.mul_(wrapped.scale)
        plain: nn.Module = wrapped.module
        return plain


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def method(request: pytest.FixtureRequest) -> Method:
    """Each method with its own defaults, and the fake."""
    if request.param == "a fake":
        return OneNumber()
    made: Method = extensions.load(FAMILY, request.param)(config_of(FAMILY, request.param)())
    return made


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


INPUT = torch.linspace(-1, 1, 20).view(5, 4)


def test_before_training_it_computes_what_the_module_computed(method: Method, module: nn.Module) -> None:
    before = module(INPUT).detach()
    trainable = method.wrap(module, OBJECTIVE)
    assert torch.equal(trainable.module(INPUT), before)
    assert torch.equal(method.fold(trainable)(INPUT), before)


def test_its_phases_say_what_trains(method: Method, module: nn.Module) -> None:
    trainable = method.wrap(module, OBJECTIVE)
    assert trainable.phases
    for phase in trainable.phases:
        assert phase.objective == OBJECTIVE
        matching = {name for name, _ in trainable.module.named_parameters() if re.search(phase.trainable, name)}
        assert matching == {name for name, parameter in trainable.module.named_parameters() if parameter.requires_grad}
        assert matching


def test_after_training_it_folds_into_a_plain_module_that_computes_the_same(method: Method, module: nn.Module) -> None:
    names = set(module.state_dict())
    before = module(INPUT).detach()
    trainable = method.wrap(module, OBJECTIVE)
    optimizer = torch.optim.SGD([p for p in trainable.module.parameters() if p.requires_grad], lr=0.5)
    torch.autograd.backward(trainable.module(INPUT).square().sum())
    optimizer.step()
    trained = trainable.module(INPUT).detach()
    assert not torch.allclose(trained, before)
    folded = method.fold(trainable)
    assert torch.allclose(folded(INPUT), trained, atol=1e-6)
    assert set(folded.state_dict()) == names


def test_full_tuning_trains_what_matches_and_leaves_the_rest(module: nn.Module) -> None:
    full: Any = extensions.load(FAMILY, "full")
    full(full.Config(trainable=r"^2\.")).wrap(module, OBJECTIVE)
    found = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert found == {"2.weight", "2.bias"}
    full(full.Config()).wrap(module, OBJECTIVE)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_pattern_that_matches_nothing_is_refused(module: nn.Module) -> None:
    full: Any = extensions.load(FAMILY, "full")
    with pytest.raises(InputError) as caught:
        full(full.Config(trainable="nothing here")).wrap(module, OBJECTIVE)
    assert (caught.value.where, caught.value.given) == ("method.trainable", "nothing here")
    assert caught.value.hint


@pytest.mark.parametrize("pattern", ["(", "*", "[a"])
def test_what_is_no_pattern_is_refused_with_the_recipe(pattern: str) -> None:
    full: Any = extensions.load(FAMILY, "full")
    with pytest.raises(ValidationError, match="not a regular expression"):
        full.Config(trainable=pattern)
