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

from tunewright.config.base import Extension, config_of
from tunewright.errors import InputError
from tunewright.train import optim
from tunewright.train.optim import make_optimizer, parameter_groups
from tunewright.train.optimizer import adamw_8bit
from tunewright.train.schedule import Schedule, rate_at
from tunewright.types import Base, Floats, Objective


class Small(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.matrix = nn.Linear(3, 2)
        self.norm = nn.LayerNorm(3)


def choose(name: str, **options: Any) -> Extension:
    return Extension(optim.FAMILY, name, config_of(optim.FAMILY, name)(**options))


Update = Callable[[int, Floats, Floats], Floats]


def adamw(config: Any, lr: float, decay: float) -> Update:
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


def sgd(config: Any, lr: float, decay: float) -> Update:
    """The velocity gathers gradients (of the loss and of the decay), and the rate applies it."""
    velocity: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal velocity
        velocity = config.momentum * velocity + g + decay * theta
        step: Floats = theta - lr * velocity
        return step

    return update


def adam(config: Any, lr: float, decay: float) -> Update:
    """Kingma and Ba 2015, algorithm 1, on a gradient that the decay is part of."""
    decoupled = adamw(config, lr, 0.0)
    return lambda t, theta, g: decoupled(t, theta, g + decay * theta)


def lion(config: Any, lr: float, decay: float) -> Update:
    """Chen et al. 2023, algorithm 2."""
    m: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal m
        u = np.sign(config.beta1 * m + (1 - config.beta1) * g)
        m = config.beta2 * m + (1 - config.beta2) * g
        step: Floats = theta - lr * (u + decay * theta)
        return step

    return update


def adafactor(config: Any, lr: float, decay: float) -> Update:
    """Shazeer and Stern 2018, algorithms 4 (matrices) and 5 (vectors), with epsilon_2 = 1 and rho_t = lr, decoupled decay."""
    rows: Any = 0.0
    columns: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal rows, columns
        beta = 1 - t**-0.8
        square = g**2 + 1e-30
        if g.ndim == 2:
            rows = beta * rows + (1 - beta) * square.sum(axis=1)
            columns = beta * columns + (1 - beta) * square.sum(axis=0)
            v = np.outer(rows, columns) / rows.sum()
        else:
            v = rows = beta * rows + (1 - beta) * square
        u = g / np.sqrt(v)
        u = u / max(1.0, float(np.sqrt(np.mean(u**2))))
        alpha = lr * max(1.0, float(np.sqrt(np.mean(theta**2))))
        step: Floats = theta * (1 - lr * decay) - alpha * u
        return step

    return update


@pytest.mark.parametrize(
    ("chosen", "by_hand"),
    [
        (choose("adamw", weight_decay=0.1), adamw),
        (choose("adamw", weight_decay=0.1, beta1=0.0, beta2=0.5, epsilon=1e-3), adamw),
        (choose("adamw_8bit", weight_decay=0.1), adamw),  # these matrices are too small for 8 bits
        (choose("adam", weight_decay=0.1), adam),
        (choose("adam", weight_decay=0.0, beta1=0.5, beta2=0.9, epsilon=1e-4), adam),
        (choose("sgd", weight_decay=0.1), sgd),
        (choose("sgd", weight_decay=0.0, momentum=0.0), sgd),
        (choose("lion", weight_decay=0.1), lion),
        (choose("lion", weight_decay=0.0, beta1=0.95, beta2=0.98), lion),
        (choose("adafactor", weight_decay=0.1), adafactor),
        (choose("adafactor", weight_decay=0.0), adafactor),
    ],
)
def test_ten_updates_equal_the_algorithm_by_hand(chosen: Extension, by_hand: Callable[..., Update]) -> None:
    torch.manual_seed(0)
    module = Small()
    optimizer = make_optimizer(chosen, module, 0.03)
    config: Any = chosen.config
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
    groups = parameter_groups(module)
    decayed = {id(value) for group in groups if group["kind"] == "matrix" for value in group["params"]}
    spared = {id(value) for group in groups if group["kind"] == "other" for value in group["params"]}
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            is_matrix = type(layer).__name__ in ("Linear", "Conv1D") and name == "weight"
            assert (id(parameter) in decayed, id(parameter) in spared) == (is_matrix, not is_matrix), (layer, name)


def test_frozen_parameters_are_left_out() -> None:
    module = Small()
    module.matrix.requires_grad_(False)
    optimizer = make_optimizer(choose("adamw"), module, 0.1)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(p) for p in (*module.embedding.parameters(), *module.norm.parameters())}


def rates(num_steps: int, **options: Any) -> list[float]:
    config = Schedule.Config(**options)
    return [rate_at(config, step, num_steps, 2.0) for step in range(num_steps)]


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    found = rates(100)
    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert found[10] == 2.0
    assert found[55] == pytest.approx(1.0)
    assert found[99] == pytest.approx(1 + math.cos(math.pi * 89 / 90))
    assert all(later < earlier for earlier, later in pairwise(found[10:]))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "inverse_sqrt", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 1000])
def test_the_rate_is_never_zero_nor_above_its_peak(schedule: str, warmup: float, num_steps: int) -> None:
    found = rates(num_steps, name=schedule, warmup=warmup)
    assert min(found) > 0
    assert max(found) == 2.0


def test_the_borders_of_the_schedule() -> None:
    assert rates(1) == [2.0]
    assert rates(4, warmup=0.0) == pytest.approx([2.0, 1 + math.cos(math.pi / 4), 1.0, 1 + math.cos(math.pi * 3 / 4)])
    assert rates(4, warmup=1.0) == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates(4, warmup=0.0, name="linear") == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert rates(4, warmup=0.25, name="constant") == [2.0, 2.0, 2.0, 2.0]


def test_the_other_schedules_are_their_papers() -> None:
    """Vaswani et al. 2017, equation 3, scaled to the peak; MiniCPM's three stages with the fall of Haegele et al. 2024."""
    warmup = 10
    assert rates(100, name="inverse_sqrt") == pytest.approx(
        [2.0 * math.sqrt(warmup) * min(t**-0.5, t * warmup**-1.5) for t in range(1, 101)]
    )
    found = rates(100, name="wsd", cooldown=0.2)
    assert found[9:81] == [2.0] * 72
    assert found[80:] == pytest.approx([2.0 * (1 - math.sqrt(n / 20)) for n in range(20)])
    assert rates(4, name="wsd", warmup=0.5, cooldown=1.0) == pytest.approx([1.0, 2.0, 2.0, 2.0 * (1 - math.sqrt(0.5))])
    assert rates(4, name="wsd", warmup=0.0, cooldown=0.0) == [2.0] * 4


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_the_fall_ends_at_the_share_that_was_asked_for(schedule: str) -> None:
    """Of the part above it, the rate loses what it would lose of all."""
    plain, lifted = (rates(100, name=schedule, final_rate=share) for share in (0.0, 0.25))
    assert lifted[10:] == pytest.approx([0.5 + 0.75 * rate for rate in plain[10:]])
    assert lifted[:10] == plain[:10]


# ------------------------------------------------------------------------------------------------- rates of the layers


@pytest.mark.parametrize(
    ("architecture", "first", "last"),
    [
        ("bert", "embeddings.", "pooler."),
        ("distilbert", "embeddings.", ""),
        ("gpt2", "w", "ln_f."),
        ("llama", "embed", "norm."),
    ],
)
def test_each_layer_learns_at_a_share_of_the_rate_above(
    architecture: str, first: str, last: str, make_module: Callable[..., Any]
) -> None:
    """Two layers: the head at 1, the layers at 1/2 and 1/4, the embeddings at 1/8."""
    module = make_module(architecture)
    optimizer = make_optimizer(choose("adamw"), module, 0.2, layer_decay=0.5)
    factors = {id(value): group["factor"] for group in optimizer.param_groups for value in group["params"]}
    assert all(group["lr"] == 0.2 * group["factor"] for group in optimizer.param_groups)
    for name, parameter in module.named_parameters():
        layer = name.removeprefix("trunk.")
        wanted = 0.25 if ".0." in name else 0.5 if ".1." in name or (last and layer.startswith(last)) else 1.0
        if layer.startswith(first):
            wanted = 0.125
        assert factors[id(parameter)] == wanted, name


def test_the_loop_moves_each_layer_at_its_own_rate(
    make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    """The first update of sgd is the gradient times the rate: what a layer loses of it is its factor."""
    sgd = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    moved = []
    for layer_decay in (1.0, 0.5):
        module = make_module("bert")
        before = {name: value.detach().clone() for name, value in module.named_parameters()}
        options = {"layer_decay": layer_decay, "schedule": {"name": "constant", "warmup": 0.0}}
        step = next(build_loop(module, make_examples(4), optimizer=sgd, options=options).steps())
        assert step.lr == 1e-2
        moved.append({name: (value.detach() - before[name]).double() for name, value in module.named_parameters()})
    for name, plain in moved[0].items():
        factor = (
            1.0 if name.startswith("head.") else 0.25 if ".layer.0." in name else 0.5 if ".layer.1." in name else 0.125
        )
        factor = 0.5 if "pooler" in name else factor
        assert torch.allclose(moved[1][name], factor * plain, atol=2e-7), name


# ------------------------------------------------------------------------------------------------------------- muon


class Adapter(nn.Module):
    """A low-rank pair under the names that adapters have, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_A = nn.ModuleDict({"default": nn.Linear(24, 4, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(4, 12, bias=False)})
        self.head = nn.Linear(12, 3)


def orthogonal(matrix: Floats) -> Floats:
    """Jordan et al. 2024: five quintic Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def muon(config: Any, lr: float, decay: float) -> Update:
    """Nesterov momentum, made orthogonal, at 0.2 sqrt(max(rows, columns)) times the rate (Liu et al. 2025, equation 4)."""
    velocity: Any = 0.0

    def update(t: int, theta: Floats, g: Floats) -> Floats:
        nonlocal velocity
        velocity = config.momentum * velocity + (1 - config.momentum) * g
        direction = orthogonal((1 - config.momentum) * g + config.momentum * velocity)
        step: Floats = theta * (1 - lr * decay) - lr * 0.2 * math.sqrt(max(theta.shape)) * direction
        return step

    return update


def test_muon_turns_adapters_and_leaves_the_rest_to_adamw() -> None:
    """Ten updates; torch makes the products in bf16, so the updates of adapters agree to a few parts in a hundred."""
    torch.manual_seed(0)
    module, lr, chosen = Adapter(), 0.01, choose("muon", weight_decay=0.1)
    optimizer = make_optimizer(chosen, module, lr)
    rules = {
        name: (muon if "lora" in name else adamw)(chosen.config, lr, 0.0 if name.endswith("bias") else 0.1)
        for name, _ in module.named_parameters()
    }
    start = {name: value.detach().double().numpy().copy() for name, value in module.named_parameters()}
    expected = dict(start)
    random = np.random.default_rng(0)
    for t in range(1, 11):
        for name, parameter in module.named_parameters():
            gradient = random.normal(size=parameter.shape)
            expected[name] = rules[name](t, expected[name], gradient)
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
    for name, parameter in module.named_parameters():
        found = parameter.detach().double().numpy() - start[name]
        error = np.abs(found - (expected[name] - start[name])).max() / np.abs(expected[name] - start[name]).max()
        assert error < (0.03 if "lora" in name else 1e-4), (name, error)


@pytest.mark.parametrize("method", ["full", "head"])
def test_muon_is_refused_where_there_is_no_adapter(method: str, make_module: Callable[..., Any]) -> None:
    from tunewright import extensions

    loaded: Any = extensions.load("adapt.method", method)
    module = loaded(loaded.Config()).wrap(make_module("bert"), Objective("cross_entropy"), 0).module
    with pytest.raises(InputError, match="adapters") as caught:
        make_optimizer(choose("muon"), module, 0.1)
    assert (caught.value.where, caught.value.hint) == ("train.optimizer", "method=lora")
    assert "lora" in caught.value.allowed


# ------------------------------------------------------------------------------------------------------------ 8 bits


def dynamic_code(*, signed: bool) -> torch.Tensor:
    """The 256 values of the paper's dynamic tree (Dettmers et al. 2022, section 1.3): a decade for each exponent."""
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1.0, 2 ** (exponent + (0 if signed else 1)) + 1)
        decade = (10.0 ** (exponent - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
        values += decade + [-value for value in decade] * signed
    return torch.tensor(sorted(values))


def by_table(moments: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    blocks = moments.view(-1, adamw_8bit.BLOCK)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    return (code[torch.bucketize(blocks / scale, (code[:-1] + code[1:]) / 2)] * scale).view(-1)


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_moments_in_8_bits_are_closer_than_those_of_the_papers_code(spread: float) -> None:
    """Judged by what matters, the update m / (sqrt(v) + eps), over weights whose gradients differ by decades."""
    torch.manual_seed(0)
    size = torch.exp(torch.randn(adamw_8bit.BLOCK * 400) * spread)
    first, second = 0.3 * torch.randn_like(size) * size, size**2 * (torch.rand_like(size) + 0.5)
    exact = first / (second.sqrt() + 1e-8)
    own = adamw_8bit.decode_first(*adamw_8bit.encode_first(first))
    own_second = adamw_8bit.decode_second(*adamw_8bit.encode_second(second))
    papers = by_table(first, dynamic_code(signed=True))
    papers_second = by_table(second, dynamic_code(signed=False))
    error = (own / (own_second.sqrt() + 1e-8) - exact).square().mean().sqrt()
    assert error < 0.75 * (papers / (papers_second.sqrt() + 1e-8) - exact).square().mean().sqrt()
    assert error < 0.1 * exact.square().mean().sqrt() + 0.1 * (spread == 2.0)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_codes_of_any_length_keep_signs_zeros_and_the_largest(size: int) -> None:
    torch.manual_seed(size)
    moments = torch.randn(size)
    moments[size // 2] = 0.0
    found = adamw_8bit.decode_first(*adamw_8bit.encode_first(moments))
    assert found.shape == moments.shape
    assert (found * moments >= 0).all()
    assert float(found[size // 2]) == 0.0
    assert float(found.abs().max()) == float(moments.abs().max())
    positive = adamw_8bit.decode_second(*adamw_8bit.encode_second(moments**2))
    assert float(positive.max()) == float((moments**2).max())
    again = adamw_8bit.decode_second(*adamw_8bit.encode_second(positive))
    assert torch.equal(again, positive), "what was rounded stays"


def test_changes_too_small_for_a_code_are_not_lost() -> None:
    """A moment that falls to a half by a thousandth a step, beside one that stays: rounded to the nearest, it would stay too."""
    moments = torch.ones(adamw_8bit.BLOCK)
    nearest, dithered = moments.clone(), moments.clone()
    exact = moments.clone()
    for step in range(1, 694):
        for each in (exact, nearest, dithered):
            each[1:] *= 0.999
        nearest = adamw_8bit.decode_second(*adamw_8bit.encode_second(nearest))
        added = adamw_8bit.rounding(step, torch.device("cpu"))
        assert 0.0 <= float(added.min()) <= float(added.max()) < 1.0
        dithered = adamw_8bit.decode_second(*adamw_8bit.encode_second(dithered, added))
    assert float(exact[1]) == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(nearest, moments)
    assert (dithered[1:] - exact[1:]).abs().max() < 0.05
    assert float((dithered[1:] - exact[1:]).mean().abs()) < 0.005


def test_a_block_of_zeros_stays_one() -> None:
    nothing = torch.zeros(300)
    for encode, decode in (
        (adamw_8bit.encode_first, adamw_8bit.decode_first), (adamw_8bit.encode_second, adamw_8bit.decode_second),
    ):  # fmt: skip
        assert torch.equal(decode(*encode(nothing)), nothing)


def fitted(chosen: Extension, num_steps: int = 200) -> tuple[list[float], torch.Tensor, torch.optim.Optimizer]:
    """A layer of 96 x 96 fitted to noisy products whose inputs differ in size by decades."""
    torch.manual_seed(0)
    layer, size = nn.Linear(96, 96), torch.logspace(-2, 0, 96)
    target = torch.randn(96, 96)
    optimizer = make_optimizer(chosen, layer, 1e-2)
    random, losses = torch.Generator().manual_seed(1), []
    for _ in range(num_steps):
        inputs = torch.randn(32, 96, generator=random) * size
        loss = (layer(inputs) - inputs @ target.T).square().mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, layer.weight.detach(), optimizer


def test_with_8_bits_training_goes_as_with_32() -> None:
    """Over 200 updates: the loss within 1 % of AdamW's at the end, the weights within 6 % of what they moved."""
    (exact, weight, _), (coded, other, _) = fitted(choose("adamw")), fitted(choose("adamw_8bit"))
    start = fitted(choose("adamw"), 0)[1]
    assert exact[-1] < 0.2 * exact[0]
    assert sum(coded[-20:]) == pytest.approx(sum(exact[-20:]), rel=0.01)
    assert float((other - weight).norm() / (weight - start).norm()) < 0.06


def test_moments_in_8_bits_take_a_quarter_of_the_memory() -> None:
    def num_bytes(name: str) -> int:
        _, weight, optimizer = fitted(choose(name), 1)
        state = next(each for value, each in optimizer.state.items() if value.shape == weight.shape)
        return sum(value.nbytes for value in state.values())

    assert num_bytes("adamw_8bit") / num_bytes("adamw") < 0.255


def test_a_matrix_of_several_chunks_is_updated_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(choose("adamw_8bit"), 5)[1]
    monkeypatch.setattr(adamw_8bit, "CHUNK", 5 * adamw_8bit.BLOCK)
    assert torch.equal(fitted(choose("adamw_8bit"), 5)[1], whole)
