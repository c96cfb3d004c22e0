"""Every file in ``adapt/method`` is a Method: what it wraps computes what it computed, trains, and folds back."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tunewright import extensions
from tunewright.config.base import config_of
from tunewright.config.load import load
from tunewright.errors import InputError
from tunewright.infer.batch import flatten
from tunewright.recipe import Recipe
from tunewright.seams import Method
from tunewright.types import Adapter, Batch, Choice, Objective, Phase, Plan, Space, Trainable

FAMILY = "adapt.method"
OBJECTIVE = Objective("cross_entropy")
FEWER_BITS = {"qlora"}
"""Methods that keep the frozen base in fewer bits than it came with: near the base, and exactly what they fold into."""


class Points(nn.Module):
    """The smallest module with a trunk and a head: each text of one token is a point in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def pool(self, batch: Batch) -> torch.Tensor:
        states: torch.Tensor = self.trunk(batch.streams["source"].ids)
        return states

    def forward(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(batch))
        return logits


class ScaledOutput(nn.Module):
    """A module with one more number, which multiplies what it computes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch: Batch) -> torch.Tensor:
        scaled: torch.Tensor = self.module(batch) * self.scale
        return scaled


class OneNumber:
    """The seam's fake: trains a scale beside the frozen module, and folds it into the last layer."""

    lr_factor = 1.0
    recomputes = False

    def wrap(self, module: nn.Module, objective: Objective, seed: int) -> Trainable:
        return Trainable(ScaledOutput(module), (Phase(objective, "^scale$"),))

    def adapter(self, trainable: Trainable) -> Adapter | None:
        return None

    def fold(self, trainable: Trainable) -> nn.Module:
        wrapped: Any = trainable.module
        layer = wrapped.module.head
        with torch.no_grad():
            layer.weight.mul_(wrapped.scale)
            layer.bias.mul_(wrapped.scale)
        plain: nn.Module = wrapped.module
        return plain

    def search_space(self, plan: Plan) -> Space:
        return {}


@pytest.fixture(params=[*extensions.names(FAMILY), "a fake"])
def name(request: pytest.FixtureRequest) -> str:
    """Each method, and the fake."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def method(name: str) -> Method:
    """The method with its own defaults."""
    if name == "a fake":
        return OneNumber()
    made: Method = extensions.load(FAMILY, name)(config_of(FAMILY, name)())
    return made


@pytest.fixture
def module() -> Points:
    return Points()


IDS = [[4], [0], [1], [2], [3]]
INPUT = Batch({"source": flatten(IDS)}, {}, (7, 8, 9, 10, 11), 5)


def test_before_training_it_computes_what_the_module_computed(method: Method, name: str, module: Points) -> None:
    before = module(INPUT).detach()
    trainable = method.wrap(module, OBJECTIVE, 0)
    wrapped = trainable.module(INPUT).detach()
    assert torch.allclose(wrapped, before, atol=0.1 if name in FEWER_BITS else 0.0, rtol=0.0)
    assert torch.allclose(method.fold(trainable)(INPUT), wrapped, atol=1e-6 if name in FEWER_BITS else 0.0, rtol=0.0)


def test_what_is_fresh_depends_on_the_seed_alone(method: Method, module: Points) -> None:
    first, again, other = (method.wrap(copy.deepcopy(module), OBJECTIVE, seed).module for seed in (1, 1, 2))
    state = torch.random.get_rng_state()
    method.wrap(copy.deepcopy(module), OBJECTIVE, 1)
    assert torch.equal(state, torch.random.get_rng_state()), "no other random number has moved"
    names = set(module.state_dict())
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
        if "lora_A" in key:
            assert not torch.equal(value, other.state_dict()[key]), key
    assert names


def test_its_phases_say_what_trains(method: Method, module: Points) -> None:
    trainable = method.wrap(module, OBJECTIVE, 0)
    assert trainable.phases
    for phase in trainable.phases:
        assert phase.objective == OBJECTIVE
        matching = {name for name, _ in trainable.module.named_parameters() if re.search(phase.trainable, name)}
        assert matching == {name for name, parameter in trainable.module.named_parameters() if parameter.requires_grad}
        assert matching
    assert method.lr_factor > 0


def test_after_training_it_folds_into_a_plain_module_that_computes_the_same(method: Method, module: Points) -> None:
    names = set(module.state_dict())
    before = module(INPUT).detach()
    trainable = method.wrap(module, OBJECTIVE, 0)
    if trainable.look_ahead is not None:
        trainable.look_ahead([torch.tensor(ids).numpy() for ids in IDS], lambda *_: None)
    optimizer = torch.optim.SGD([p for p in trainable.module.parameters() if p.requires_grad], lr=0.5)
    torch.autograd.backward(trainable.module.train()(INPUT).square().sum())
    optimizer.step()
    trained = trainable.module.eval()(INPUT).detach()
    assert not torch.allclose(trained, before)
    folded = method.fold(trainable)
    assert torch.allclose(folded(INPUT), trained, atol=1e-6)
    assert set(folded.state_dict()) == names


def test_an_adapter_is_what_was_trained_beside_the_base(method: Method, module: Points) -> None:
    trainable = method.wrap(module, OBJECTIVE, 0)
    adapter = method.adapter(trainable)
    if adapter is None:
        return
    trunk = {name for name, parameter in trainable.module.named_parameters() if parameter.requires_grad}
    assert {name.replace(".default", "") for name in trunk if not name.startswith("head.")} == set(adapter.weights)
    assert adapter.config["peft_type"]


PLAN = Plan((Choice("train.lr", 1e-4, ""), Choice("train.epochs", 3, "")))


def test_what_it_would_search_is_there_to_be_set(method: Method, name: str) -> None:
    for path, one in method.search_space(PLAN).items():
        assert path.startswith("method."), "what is trained is the task's to propose"
        values = one if isinstance(one, tuple) else (one.low, one.high)
        assert len(set(values)) == len(values) > 1
        for value in values:
            chosen = {"data": "rows.csv", "method": name}
            loaded = load(Recipe, values=chosen, overrides=[f"{path}={json.dumps(value)}"])
            set_to = loaded.config.method.as_json()[path.removeprefix("method.")]
            assert (set_to, type(set_to)) == (value, type(value))


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_a_low_rank_method_proposes_ranks_and_dropouts_the_configured_ones_among_them(name: str) -> None:
    usual: Any = extensions.load(FAMILY, name)
    assert usual(usual.Config()).search_space(PLAN) == {
        "method.rank": (4, 8, 16, 32, 64), "method.dropout": (0.0, 0.05, 0.1),
    }  # fmt: skip
    space = usual(usual.Config(rank=128, dropout=0.3)).search_space(PLAN)
    assert space["method.rank"] == (4, 8, 16, 32, 64, 128)
    assert space["method.dropout"] == (0.0, 0.05, 0.1, 0.3)


@pytest.mark.parametrize("name", ["full", "head"])
def test_a_method_without_settings_to_try_proposes_nothing(name: str) -> None:
    made: Any = extensions.load(FAMILY, name)
    assert made(made.Config()).search_space(PLAN) == {}


def test_full_tuning_trains_what_matches_and_leaves_the_rest(module: Points) -> None:
    full: Any = extensions.load(FAMILY, "full")
    full(full.Config(trainable=r"^head\.")).wrap(module, OBJECTIVE, 0)
    found = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert found == {"head.weight", "head.bias"}
    full(full.Config()).wrap(module, OBJECTIVE, 0)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_pattern_that_matches_nothing_is_refused(module: Points) -> None:
    full: Any = extensions.load(FAMILY, "full")
    with pytest.raises(InputError) as caught:
        full(full.Config(trainable="nothing here")).wrap(module, OBJECTIVE, 0)
    assert (caught.value.where, caught.value.given) == ("method.trainable", "nothing here")
    assert caught.value.hint


@pytest.mark.parametrize("pattern", ["(", "*", "[a"])
def test_what_is_no_pattern_is_refused_with_the_recipe(pattern: str) -> None:
    full: Any = extensions.load(FAMILY, "full")
    with pytest.raises(ValidationError, match="not a regular expression"):
        full.Config(trainable=pattern)
