"""Flattened tokens give what the stock forward gives on a padded batch: states and every gradient, in every proven family."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch

from families import FAMILIES, flattened, stock, stream_of
from tunewright.infer import attention, flat
from tunewright.infer.attention import attend
from tunewright.infer.forward import run_trunk
from tunewright.infer.segments import plan_segments


def test_every_proven_family_is_here() -> None:
    assert set(FAMILIES) == flat.FAMILIES


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize(("block", "short"), [(256, 256), (256, 0), (16, 0), (256, 9)])
def test_states_and_every_gradient_equal_the_stock_forward(
    name: str, block: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    monkeypatch.setattr(attention, "SHORT", short)
    stream = stream_of()
    plain = stock(name)
    fast = flattened(plain)
    weights = torch.randn(len(stream.ids), 32)
    found = []
    for model in (plain, fast):
        hidden = run_trunk(model, stream)
        torch.autograd.backward((hidden * weights).sum())
        found.append((hidden, {each: value.grad for each, value in model.named_parameters()}))
    (expected, right), (given, ours) = found
    assert torch.allclose(given, expected, atol=2e-6), float((given - expected).abs().max())
    largest = max(float(gradient.abs().max()) for gradient in right.values() if gradient is not None)
    for each, gradient in right.items():
        if gradient is None:
            assert ours[each] is None, each
        else:
            scale = float(gradient.abs().max()) + 1e-3 * largest  # that of a key's bias is zero but for rounding
            assert torch.allclose(ours[each], gradient, atol=2e-6 * scale), each


@pytest.mark.parametrize("name", ["bert", "llama", "gemma3_text"])
def test_bf16_is_as_close_as_the_stock_forward_in_bf16(name: str) -> None:
    stream = stream_of()
    plain = stock(name)
    exact = run_trunk(plain, stream).detach()
    gaps = []
    for model in (plain, flattened(plain)):
        hidden = run_trunk(copy.deepcopy(model).bfloat16(), stream).detach().float()
        gaps.append(float((hidden - exact).norm() / exact.norm()))
    assert gaps[1] < 1.2 * gaps[0] + 1e-3
    assert gaps[1] < 0.02


def reference(inputs: list[torch.Tensor], bounds: list[int], window: int | None) -> torch.Tensor:
    """Causal attention of each segment alone, by torch."""
    q, k, v = inputs
    repeat = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(repeat, 1) for each in (k, v))
    read = []
    for start, stop in pairwise(bounds):
        near = torch.ones(stop - start, stop - start, dtype=torch.bool).tril()
        if window is not None:
            near &= ~torch.ones_like(near).tril(-window)
        query, key, value = (each[start:stop].transpose(0, 1) for each in (q, k, v))
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=near)
        read.append(found.transpose(0, 1))
    return torch.cat(read)


@pytest.mark.parametrize("window", [None, 50])
@pytest.mark.parametrize("kept", [1024, 10])
def test_long_segments_in_blocks_kept_or_made_again(
    window: int | None, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", 64)
    monkeypatch.setattr(attention, "MOST_KEPT", kept)
    torch.manual_seed(0)
    bounds = [0, 300, 301, 471]
    q, k, v = (torch.randn(471, heads, 8, dtype=torch.float64, requires_grad=True) for heads in (6, 2, 2))
    flow = torch.randn(471, 6, 8, dtype=torch.float64)
    ours = attend(q, k, v, plan_segments(bounds), scale=8**-0.5, causal=True, window=window)
    right = reference([q, k, v], bounds, window)
    assert torch.allclose(ours, right, atol=1e-12)
    for one, two in zip(*(torch.autograd.grad(each, [q, k, v], flow) for each in (ours, right)), strict=True):
        assert torch.allclose(one, two, atol=1e-12)


def test_dropout_drops_a_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    q, k = torch.zeros(400, 1, 4), torch.zeros(400, 1, 4)
    v = torch.ones(400, 1, 4, requires_grad=True)
    read = attend(q, k, v, plan_segments([0, 400]), scale=1.0, causal=False, dropout=0.25)
    assert abs(float(read.detach().mean()) - 1.0) < 0.01
    assert 0.02 < float(read.detach().std()) < 0.04  # sqrt(0.25 / 0.75 / 400)
    (gradient,) = torch.autograd.grad(read.sum(), v)
    assert torch.allclose(gradient.sum(), read.detach().sum(), rtol=1e-4), "the backward pass drops the same"


def test_segments_of_like_length_share_a_product() -> None:
    plan = plan_segments([0, 20, 39, 57, 400]).groups()
    assert [(group.num_segments, group.longest) for group in plan] == [(1, 343), (3, 20)]
    rows: list[int] = []
    for group in plan:
        if isinstance(group.rows, slice):
            rows += range(400)[group.rows]
        else:
            real = torch.ones(len(group.rows), dtype=torch.bool) if group.real is None else group.real.flatten()
            rows += group.rows[real].tolist()
    assert sorted(rows) == list(range(400))
