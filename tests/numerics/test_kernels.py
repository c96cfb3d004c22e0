"""Each kernel gives what torch gives in fp32, to the rounding of its dtype; dropout drops its share; threads change no bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional

from tunewright.infer import attention
from tunewright.infer.attention import Heads, Turns, attend, attend_joined
from tunewright.infer.likelihood import Predictions, weighted_loss
from tunewright.infer.native.functions import Gate, Kernels, kernels, new_dropout, use_kernels
from tunewright.infer.segments import plan_segments
from tunewright.train.fused import operators
from tunewright.train.fused.kept import Made

ROUNDING = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-18}
"""In bf16 half a unit in the last place, relative, times two: a value is rounded once, at the end. In fp32 sums round, too."""


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def native(request: pytest.FixtureRequest) -> Kernels:
    """The compiled kernels; a machine without a C compiler has none to test."""
    found = kernels(request.param)
    if found is None:
        pytest.skip("no C compiler")
    return found


@pytest.fixture
def without_kernels() -> Iterator[None]:
    """Torch's operators alone."""
    use_kernels(False)
    yield
    use_kernels(True)


def draw(native: Kernels, *shape: int) -> torch.Tensor:
    return torch.randn(*shape).to(native.dtype)


def near(ours: torch.Tensor, right: torch.Tensor, times: float = 1.0) -> None:
    """Within one rounding of each value, and of the largest where values cancel."""
    gap = (ours.float() - right.float()).abs()
    bound = times * ROUNDING[ours.dtype] * (right.float().abs() + 0.02 * right.float().abs().max())
    assert (gap <= bound).all(), float((gap / bound).max())


def gradients(outputs: Any, flows: list[torch.Tensor], inputs: list[Any]) -> list[torch.Tensor]:
    listed = list(outputs) if isinstance(outputs, tuple) else [outputs]
    found = torch.autograd.grad(listed, inputs, [flow.to(each.dtype) for flow, each in zip(flows, listed, strict=True)])
    return [*(each.detach() for each in listed), *found]


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 17), (130, 64), (65, 577)])
@pytest.mark.parametrize("from_one", [False, True])
def test_root_mean_square_norm_with_its_residual(native: Kernels, rows: int, width: int, from_one: bool) -> None:
    torch.manual_seed(0)
    x, add, weight = draw(native, rows, width), draw(native, rows, width), draw(native, width)
    flows = [draw(native, rows, width), draw(native, rows, width)]
    half = [each.requires_grad_() for each in (x, add, weight)]
    norm = operators.RmsNorm(native, from_one, forgets=True)
    both, normed = norm.add(half[0], half[1], half[2], 1e-5)
    assert normed.again is not None
    assert torch.equal(normed.again(), normed.rows)
    ours = gradients((both, normed.rows), flows, half)
    wide = [each.detach().float().requires_grad_() for each in half]
    total = (
        wide[0] + wide[1] + ((x + add).float() - x.float() - add.float()).detach()
    )  # s is rounded, and normed as such
    scaled = wide[2] + 1.0 if from_one else wide[2]
    right = gradients((total, functional.rms_norm(total, (width,), scaled, 1e-5)), flows, wide)
    for mine, theirs in zip(ours, right, strict=True):
        near(mine, theirs, 1.1)


def test_the_norm_alone(native: Kernels) -> None:
    torch.manual_seed(0)
    half = [draw(native, 70, 48).requires_grad_(), draw(native, 48).requires_grad_()]
    wide = [each.detach().float().requires_grad_() for each in half]
    flow = [draw(native, 70, 48)]
    norm = operators.RmsNorm(native, from_one=False, forgets=False)
    ours = gradients(norm(half[0], half[1], 1e-6).rows, flow, half)
    for mine, theirs in zip(
        ours, gradients(functional.rms_norm(wide[0], (48,), wide[1], 1e-6), flow, wide), strict=True
    ):
        near(mine, theirs, 1.1)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layer_norm_with_dropout_and_residual(native: Kernels, dropout: float) -> None:
    torch.manual_seed(0)
    layer = torch.nn.LayerNorm(96, eps=1e-6).to(native.dtype)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x, add, flow = (
        draw(native, 150, 96).requires_grad_(),
        draw(native, 150, 96).requires_grad_(),
        [draw(native, 150, 96)],
    )
    torch.manual_seed(1)
    made = operators.add_layer_norm(native, x, add, layer, dropout, forgets=True)
    assert made.again is not None
    assert torch.equal(made.again(), made.rows)
    ours = gradients(made.rows, flow, [x, add, layer.weight, layer.bias])
    torch.manual_seed(1)
    mask = (
        native.drop(torch.ones(150, 96).to(native.dtype), new_dropout(dropout)).float()
        if dropout
        else torch.ones(150, 96)
    )
    if dropout:
        mask = (mask > 0).float() / (1.0 - dropout)
    wide = [each.detach().float().requires_grad_() for each in (x, add, layer.weight, layer.bias)]
    total = wide[0] * mask + wide[1]
    total = total + (total.detach().to(native.dtype).float() - total.detach())
    for mine, theirs in zip(
        ours, gradients(functional.layer_norm(total, (96,), wide[2], wide[3], 1e-6), flow, wide), strict=True
    ):
        near(mine, theirs, 1.2)


def test_dropout_drops_its_share_and_keeps_the_mean_and_draws_the_same_mask_back(native: Kernels) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1000).to(native.dtype).requires_grad_()
    y = operators.drop(native, x, 0.1)
    share = float((y == 0).float().mean())
    assert abs(share - 0.1) < 4 * math.sqrt(0.09 / 1e6)
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert torch.equal(grad, y.detach())
    rows, columns = (y == 0).float().mean(0), (y == 0).float().mean(1)
    for each in (rows, columns):  # no row or column is dropped more than by chance
        assert float((each - 0.1).abs().max()) < 5.5 * math.sqrt(0.09 / 1000)
    again = operators.drop(native, x, 0.1)
    both = float(((y == 0) & (again == 0)).float().mean())
    assert abs(both - 0.01) < 5 * math.sqrt(0.0099 / 1e6), "two draws are independent"
    torch.manual_seed(0)
    assert torch.equal(operators.drop(native, x, 0.1), y), "a function of torch's seed"


@pytest.mark.parametrize("name", ["swiglu", "geglu"])
def test_gated_unit(native: Kernels, name: Gate) -> None:
    torch.manual_seed(0)
    x = (draw(native, 40, 66) * 4).requires_grad_()
    wide = x.detach().double().requires_grad_()  # in fp32, 1 + tanh cancels
    gate, up = wide.chunk(2, dim=1)
    flow = [draw(native, 40, 33)]
    shaped = functional.silu(gate) if name == "swiglu" else functional.gelu(gate, approximate="tanh")
    right = gradients(shaped * up, flow, [wide])
    for mine, theirs in zip(
        gradients(operators.gated(native, name, Made(x, None)).rows, flow, [x]), right, strict=True
    ):
        near(mine, theirs, 1.1)


@pytest.mark.parametrize("v", [5, 4096, 50_001])
def test_cross_entropy_over_the_vocabulary(native: Kernels, v: int) -> None:
    torch.manual_seed(0)
    logits, ids, weights = draw(native, 9, v) * 6, torch.randint(0, v, (9,)), torch.rand(9)
    wide = logits.float().requires_grad_()
    right = functional.cross_entropy(wide, ids, reduction="none")
    (flow,) = torch.autograd.grad((right * weights).sum(), wide)
    mine = logits.clone()
    losses = native.cross_entropy_(mine, ids, weights, True)
    assert torch.allclose(losses, right.detach(), rtol=1e-5, atol=1e-5)
    near(mine, flow, 1.05)
    kept = logits.clone()
    native.cross_entropy_(kept, ids, weights, False)
    assert torch.equal(kept, logits), "without gradients the logits stay"


def test_the_head_by_the_kernel_and_by_torch(native: Kernels, without_kernels: None) -> None:
    torch.manual_seed(0)
    ids, weights, rows = torch.randint(0, 501, (300,)), torch.rand(300), torch.zeros(300, dtype=torch.int64)
    found = []
    for wanted in (True, False):
        use_kernels(wanted)
        torch.manual_seed(1)
        states, head = draw(native, 300, 32).requires_grad_(), draw(native, 501, 32).requires_grad_()
        loss = weighted_loss(Predictions(states, head, None, ids, weights, rows)) / weights.sum()
        found.append([loss.detach(), *torch.autograd.grad(loss, [states, head])])
    for mine, theirs in zip(*found, strict=True):
        assert float((mine.float() - theirs.float()).norm() / theirs.float().norm()) < 4e-3


@pytest.mark.parametrize(("causal", "window"), [(True, None), (True, 7), (False, None)])
@pytest.mark.parametrize("lengths", [(5, 5, 5), (300, 1, 40, 41, 260, 2)])
@pytest.mark.parametrize("short", [0, 256, 1000])
def test_attention_reads_and_grades_as_torch_does(
    native: Kernels,
    without_kernels: None,
    causal: bool,
    window: int | None,
    lengths: tuple[int, ...],
    short: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "SHORT", short)
    torch.manual_seed(0)
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    heads, total = Heads(6, 2, 16), bounds[-1]
    rows, flow = draw(native, total, 10 * 16), draw(native, total, 96)
    exact = [each.detach().double().requires_grad_() for each in heads.split(rows)]
    segments = plan_segments(bounds)
    read = attend(exact[0], exact[1], exact[2], segments, scale=0.25, causal=causal, window=window).flatten(1)
    right = [read.detach(), torch.cat(torch.autograd.grad(read, exact, flow.double()), dim=1).flatten(1)]
    gaps = []
    for wanted in (True, False):
        use_kernels(wanted)
        half = rows.clone().requires_grad_()
        ours = attend_joined(half, heads, None, segments, scale=0.25, causal=causal, window=window)
        mine = [ours.detach(), *torch.autograd.grad(ours, half, flow)]
        gaps.append([float((a.double() - b).norm() / b.norm()) for a, b in zip(mine, right, strict=True)])
    for fused, plain in zip(*gaps, strict=True):
        assert fused < 1.1 * plain + ROUNDING[native.dtype] / 16, gaps


def test_attention_of_short_segments_drops_the_same_on_the_way_back(native: Kernels) -> None:
    """Values that are the rows of a unit matrix show what each query read, and so the mask; with it, everything is known."""
    torch.manual_seed(0)
    heads, size, rate = Heads(2, 1, 32), 30, 0.3
    q, k = torch.randn(size, 64), torch.randn(size, 32)
    rows = torch.cat([q, k, torch.eye(32)[:size]], dim=1).to(native.dtype).requires_grad_()
    for causal in (True, False):
        torch.manual_seed(5)
        read = attend_joined(rows * 1.0, heads, None, plan_segments([0, size]), scale=0.2, causal=causal, dropout=rate)
        flow = draw(native, size, 64)
        (grad,) = torch.autograd.grad(read, rows, flow)
        exact = rows.detach().double().requires_grad_()
        q2, k2, v2 = heads.split(exact)
        scores = torch.einsum("qhd,kgd->hqk", q2, k2) * 0.2
        if causal:
            scores = scores.masked_fill(torch.ones(size, size).triu(1).bool(), float("-inf"))
        chances = scores.softmax(-1)
        kept = read.detach().view(size, 2, 32)[:, :, :size].transpose(0, 1) != 0
        share = float(kept[(chances > 0)].float().mean())
        assert abs(share - (1 - rate)) < 0.05
        right = torch.einsum("hqk,kgd->qhd", chances * kept / (1 - rate), v2).flatten(1)
        near(read.detach(), right.detach(), 1.2)
        (wanted,) = torch.autograd.grad(right, exact, flow.double())
        assert float((grad.double() - wanted).norm() / wanted.norm()) < ROUNDING[native.dtype]


@pytest.mark.parametrize("short", [0, 256])
def test_attention_with_dropout_is_right_on_average(
    native: Kernels, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "SHORT", short)
    torch.manual_seed(0)
    heads, bounds = Heads(1, 1, 8), [0, 6, 12]
    rows = draw(native, 12, 24).requires_grad_()
    segments = plan_segments(bounds)
    total, grads, num = torch.zeros(12, 8), torch.zeros(12, 24), 3000
    for _ in range(num):
        read = attend_joined(rows * 1.0, heads, None, segments, scale=0.3, causal=False, dropout=0.2)
        total += read.detach().float()
        grads += torch.autograd.grad(read.sum(), rows)[0].float()
    whole = attend_joined(rows * 1.0, heads, None, segments, scale=0.3, causal=False)
    grad = torch.autograd.grad(whole.sum(), rows)[0]
    assert float((total / num - whole.detach().float()).abs().max()) < 0.06
    assert float((grads / num - grad.float()).abs().max()) < 0.1


def test_rotary_turns_and_turns_back(native: Kernels) -> None:
    torch.manual_seed(0)
    heads, angles = Heads(4, 2, 16), torch.rand(9, 8) * 6
    rows = draw(native, 9, 8 * 16)
    turned = rows.clone()
    turns = Turns(native, angles.cos(), angles.sin())
    turns.turn(turned, heads, 1.0)
    wide = rows.float().view(9, 8, 16)
    first, second = wide[..., :8], wide[..., 8:]
    cosines, sines = angles.cos()[:, None], angles.sin()[:, None]
    right = torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)
    near(turned.view(9, 8, 16)[:, :6], right[:, :6], 1.01)
    assert torch.equal(turned.view(9, 8, 16)[:, 6:], rows.view(9, 8, 16)[:, 6:]), "values are not turned"
    turns.turn(turned, heads, -1.0)
    assert float((turned.float() - rows.float()).abs().max()) < 0.03


def test_not_a_number_and_infinities_survive(native: Kernels) -> None:
    x = torch.full((2, 4), 1.0).to(native.dtype)
    x[0, 1], x[1, 2] = float("nan"), float("inf")
    _, y, _ = native.rms_norm(x, None, torch.ones(4).to(native.dtype), False, 1e-5)
    assert torch.isnan(y[0]).all()
    assert not torch.isfinite(y[1]).all()
    logits = torch.tensor([[1.0, float("nan"), 2.0]]).to(native.dtype)
    assert torch.isnan(native.cross_entropy_(logits, torch.tensor([0]), torch.ones(1), True)).all()
    assert torch.isnan(native.square_sum([torch.tensor([1.0, float("nan")])]))


def test_sum_of_squares_over_many_tensors(native: Kernels) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(1), torch.randn(65_536), torch.randn(300, 700), draw(native, 5, 5), torch.randn(0)]
    right = sum(float(each.double().square().sum()) for each in tensors)
    assert float(native.square_sum(tensors)) == pytest.approx(right, rel=1e-5)


def test_the_number_of_threads_changes_no_bit(native: Kernels) -> None:
    torch.manual_seed(0)
    layer = torch.nn.LayerNorm(64).to(native.dtype)
    x, add = draw(native, 500, 64).requires_grad_(), draw(native, 500, 64).requires_grad_()
    rows, weight = draw(native, 500, 3 * 64).requires_grad_(), draw(native, 64).requires_grad_()
    segments, before = plan_segments([0, 130, 131, 500]), torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        normed = operators.add_layer_norm(native, x, add, layer, 0.1).rows
        read = attend_joined(rows * 1.0, Heads(4, 4, 16), None, segments, scale=0.25, causal=True, dropout=0.1)
        total, made = operators.RmsNorm(native, from_one=False, forgets=False).add(x, add, weight, 1e-5)
        other = made.rows
        sums = native.square_sum([normed.detach(), read.detach()])
        outputs = [normed, read, total, other]
        grads = torch.autograd.grad(
            outputs, [x, add, rows, weight, layer.weight], [torch.ones_like(o) for o in outputs]
        )
        found.append([*(each.detach() for each in outputs), *grads, sums])
    torch.set_num_threads(before)
    for one, two in pairwise(found):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
