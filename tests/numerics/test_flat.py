"""Flattened tokens give what the stock forward gives on a padded batch: states and every gradient, in every proven family."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
import transformers

from tunewright.infer import attention, flat
from tunewright.infer.attention import attend, plan_segments
from tunewright.infer.batch import flatten
from tunewright.infer.forward import run_trunk
from tunewright.types import Stream

LENGTHS = (7, 40, 7, 1, 23, 39, 2)

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 97,
    "max_position_embeddings": 64,
}  # fmt: skip
DECODER = {**SIZES, "num_key_value_heads": 2}

LAYERS = ["sliding_attention", "full_attention"]

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SIZES),
    "roberta": ("Roberta", {**SIZES, "pad_token_id": 1}),
    "xlm-roberta": ("XLMRoberta", {**SIZES, "pad_token_id": 1}),
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 97}),
    "gpt2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97, "n_positions": 64}),
    "llama": ("Llama", DECODER),
    "mistral": ("Mistral", {**DECODER, "sliding_window": 9}),
    "qwen2": ("Qwen2", DECODER),
    "qwen3": ("Qwen3", {**DECODER, "head_dim": 16}),
    "smollm3": ("SmolLM3", {**DECODER, "pad_token_id": 0}),
    "gemma3_text": ("Gemma3Text", {**DECODER, "head_dim": 16, "sliding_window": 9, "layer_types": LAYERS}),
}  # fmt: skip


def stock(name: str) -> Any:
    """A model of the family with random weights, its attention written out."""
    kind, sizes = FAMILIES[name]
    found: Any = transformers
    torch.manual_seed(0)
    config = getattr(found, f"{kind}Config")(**sizes)
    config._attn_implementation = "eager"
    return getattr(found, f"{kind}Model")(config).eval()


def flattened(model: Any) -> Any:
    """The same weights, reading flattened tokens."""
    changed = copy.deepcopy(model)
    flat.register()
    changed.config._attn_implementation = flat.NAME
    return changed


def stream_of(lengths: tuple[int, ...] = LENGTHS) -> Stream:
    torch.manual_seed(1)
    return flatten([torch.randint(3, 97, (length,)).tolist() for length in lengths])


def test_every_proven_family_is_here() -> None:
    assert set(FAMILIES) == flat.FAMILIES


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("block", [256, 16])
def test_states_and_every_gradient_equal_the_stock_forward(
    name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
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
    for each, gradient in right.items():
        if gradient is None:
            assert ours[each] is None, each
        else:
            scale = float(gradient.abs().max()) + 1e-3
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
    plan = plan_segments([0, 20, 39, 57, 400])
    assert [(group.num_segments, group.longest) for group in plan.groups] == [(1, 343), (3, 20)]
    rows: list[int] = []
    for group in plan.groups:
        if isinstance(group.rows, slice):
            rows += range(400)[group.rows]
        else:
            real = torch.ones(len(group.rows), dtype=torch.bool) if group.real is None else group.real.flatten()
            rows += group.rows[real].tolist()
    assert sorted(rows) == list(range(400))
