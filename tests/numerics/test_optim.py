"""The optimisers equal their algorithms written out by hand, and the rate follows its schedule to the last step."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.train.optim import Optimizer, make_optimizer, rate_at, split_by_decay
from tunewright.types import Base, Floats


class Small(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.matrix = nn.Linear(3, 2)
        self.norm = nn.LayerNorm(3)


Update = Callable[[int, Floats, Floats], Floats]


def adamw(config: Optimizer.Config, lr: float, decay: float) -> Update:
    """Loshchilov and Hutter 2019, algorithm 2, lines 5 to 12, with the rate as schedule multiplier."""
    m: Any = 0.0
    v: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal m, v
        m = config.beta1 * m + (1 - config.beta1) * g
        v = config.beta2 * v + (1 - config.beta2) * g**2
        m_hat, v_hat = m / (1 - config.beta1**t), v / (1 - config.beta2**t)
        step: Floats = theta - lr * (m_hat / (np.sqrt(v_hat) + config.epsilon) + decay * theta)
        return step

    return update


def sgd(config: Optimizer.Config, lr: float, decay: float) -> Update:
    """The velocity gathers gradients (of the loss and of the decay), and the rate applies it."""
    velocity: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal velocity
        velocity = config.momentum * velocity + g + decay * theta
        step: Floats = theta - lr * velocity
        return step

    return update


@pytest.mark.parametrize(
    ("config", "by_hand"),
    [
        (Optimizer.Config(weight_decay=0.1), adamw),
        (Optimizer.Config(weight_decay=0.1, beta1=0.0, beta2=0.5, epsilon=1e-3), adamw),
        (Optimizer.Config(name="sgd", weight_decay=0.1), sgd),
        (Optimizer.Config(name="sgd", weight_decay=0.0, momentum=0.0), sgd),
    ],
)
def test_ten_updates_equal_the_algorithm_by_hand(config: Optimizer.Config, by_hand: Callable[..., Update]) -> None:
    torch.manual_seed(0)
    module = Small()
    optimizer = make_optimizer(config, module, 0.03)
    decays = {"matrix.weight": config.weight_decay}
    updates = {name: by_hand(config, 0.03, decays.get(name, 0.0)) for name, _ in module.named_parameters()}
    expected = {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}
    random = np.random.default_rng(0)
    for t in range(1, 11):
        for name, parameter in module.named_parameters():
            gradient = random.normal(size=parameter.shape)
            expected[name] = updates[name](t, expected[name], gradient)
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
    for name, parameter in module.named_parameters():
        assert np.abs(parameter.detach().numpy() - expected[name]).max() < 1e-5, name


def test_matrices_decay_and_nothing_else(base: Base, make_module: Callable[..., Any]) -> None:
    """Judged here by the class of the layer that owns the parameter, there by its shape."""
    module = make_module(base.architecture)
    decayed, spared = ({id(parameter) for parameter in group} for group in split_by_decay(module))
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            is_matrix = type(layer).__name__ in ("Linear", "Conv1D") and name == "weight"
            assert (id(parameter) in decayed, id(parameter) in spared) == (is_matrix, not is_matrix), (layer, name)


def test_frozen_parameters_are_left_out() -> None:
    module = Small()
    module.matrix.requires_grad_(False)
    optimizer = make_optimizer(Optimizer.Config(), module, 0.1)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(p) for p in (*module.embedding.parameters(), *module.norm.parameters())}


def rates(num_steps: int, **options: Any) -> list[float]:
    config = Optimizer.Config(**options)
    return [rate_at(config, step, num_steps, 2.0) for step in range(num_steps)]


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    found = rates(100)
    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert found[10] == 2.0
    assert found[55] == pytest.approx(1.0)
    assert found[99] == pytest.approx(1 + math.cos(math.pi * 89 / 90))
    assert all(later < earlier for earlier, later in pairwise(found[10:]))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 1000])
def test_the_rate_is_never_zero_nor_above_its_peak(schedule: str, warmup: float, num_steps: int) -> None:
    found = rates(num_steps, schedule=schedule, warmup=warmup)
    assert min(found) > 0
    assert max(found) == 2.0


def test_the_borders_of_the_schedule() -> None:
    assert rates(1) == [2.0]
    assert rates(4, warmup=0.0) == pytest.approx([2.0, 1 + math.cos(math.pi / 4), 1.0, 1 + math.cos(math.pi * 3 / 4)])
    assert rates(4, warmup=1.0) == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates(4, warmup=0.0, schedule="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert rates(4, warmup=0.25, schedule="constant") == [2.0, 2.0, 2.0, 2.0]
