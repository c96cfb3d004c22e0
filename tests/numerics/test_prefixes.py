"""What rows begin with alike is read once, and loss and every gradient stay those of rows that are read alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from families import DECODER, LAYERS
from tunewright.adapt.language import LanguageModel
from tunewright.infer import attention, flat
from tunewright.infer.native.functions import use_kernels
from tunewright.train.batches import Batches, Examples
from tunewright.train.objective.token_cross_entropy import TokenCrossEntropy
from tunewright.train.prefixes import can_share
from tunewright.train.worker import Worker

FAMILIES: dict[str, tuple[tuple[str, str], dict[str, Any]]] = {
    "gpt2": (
        ("GPT2Config", "GPT2LMHeadModel"),
        {
            "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97, "n_positions": 64,
            "bos_token_id": 0, "eos_token_id": 1, "resid_pdrop": 0.0,
            "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        },
    ),
    "llama": (("LlamaConfig", "LlamaForCausalLM"), DECODER),
    "mistral": (("MistralConfig", "MistralForCausalLM"), {**DECODER, "sliding_window": 9}),
    "qwen3": (("Qwen3Config", "Qwen3ForCausalLM"), {**DECODER, "head_dim": 16}),
    "gemma3_text": (
        ("Gemma3TextConfig", "Gemma3ForCausalLM"),
        {**DECODER, "head_dim": 16, "sliding_window": 9, "layer_types": LAYERS},
    ),
}  # fmt: skip


def model_of(name: str) -> LanguageModel:
    kind, sizes = FAMILIES[name]
    found: Any = transformers
    torch.manual_seed(0)
    of_config, of_model = kind
    config = getattr(found, of_config)(**sizes)
    flat.register()
    config._attn_implementation = flat.NAME
    return LanguageModel(getattr(found, of_model)(config))


def examples(all_weigh: bool) -> Examples:
    """Four rows behind one beginning, two behind another, and one by itself; weights on answers, or on all but first tokens."""
    random = np.random.default_rng(0)
    system, other = random.integers(3, 97, 20), random.integers(3, 97, 13)
    tails = [random.integers(3, 97, length) for length in (7, 1, 12, 3)]
    rows = [np.concatenate([system, tail]) for tail in tails]
    rows += [np.concatenate([other, random.integers(3, 97, length)]) for length in (5, 6)]
    rows.append(random.integers(3, 97, 9))
    weights = [torch.rand(len(row)) * (torch.arange(len(row)) >= (1 if all_weigh else len(row) - 3)) for row in rows]
    return Examples(rows, torch.cat(weights), np.arange(len(rows)), per_token=True)


def graded(model: LanguageModel, given: Examples, *, shares: bool, dtype: str = "fp32") -> list[torch.Tensor]:
    """The loss of all rows in one batch, and every gradient."""
    module = copy.deepcopy(model)
    worker: Any = Worker(module, dtype)
    batches = Batches(given, batch_size=len(given), token_budget=1 << 20, seed=0, shares=shares)
    (batch,) = batches.micro_batches(0)
    assert bool(batch.streams["source"].parents) == shares
    if shares:
        assert len(batch.streams["source"].ids) < sum(map(len, given.ids))
    loss, count = TokenCrossEntropy()(worker.module(batch), batch.columns)
    assert float(count) == pytest.approx(float(given.targets.sum()), rel=1e-5)
    torch.autograd.backward(loss)
    return [loss.detach(), *(each.grad for each in module.parameters() if each.grad is not None)]


def gap(mine: torch.Tensor, right: torch.Tensor) -> float:
    return float((mine.float() - right.float()).norm() / (right.float().norm() + 1e-12))


@pytest.mark.parametrize("all_weigh", [False, True])
@pytest.mark.parametrize(("block", "short"), [(256, 256), (256, 0), (8, 0), (256, 25)])
@pytest.mark.parametrize("name", FAMILIES)
def test_loss_and_gradients_are_those_of_rows_read_alone(
    name: str, block: int, short: int, all_weigh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    monkeypatch.setattr(attention, "SHORT", short)
    model, given = model_of(name), examples(all_weigh)
    assert can_share(model)
    right = graded(model, given, shares=False)
    ours = graded(model, given, shares=True)
    assert len(ours) == len(right)
    for mine, other in zip(ours, right, strict=True):
        assert gap(mine, other) < 3e-6


def test_without_kernels_and_with_probabilities_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_KEPT", 4)
    monkeypatch.setattr(attention, "SHORT", 0)
    model, given = model_of("llama"), examples(all_weigh=True)
    right = graded(model, given, shares=False)
    use_kernels(False)
    for mine, other in zip(graded(model, given, shares=True), right, strict=True):
        assert gap(mine, other) < 3e-6


def test_in_bf16_no_further_from_fp32_than_rows_alone() -> None:
    model, given = model_of("llama"), examples(all_weigh=True)
    right = graded(model, given, shares=False)
    gaps = []
    for shares in (True, False):
        found = graded(model, given, shares=shares, dtype="bf16")
        gaps.append(max(gap(mine, other) for mine, other in zip(found, right, strict=True)))
    assert gaps[0] < 1.5 * gaps[1] + 2e-3, gaps


def test_what_draws_dropout_or_looks_both_ways_does_not_share() -> None:
    model = model_of("gpt2")
    assert can_share(model)
    model.trunk.h[0].attn.resid_dropout.p = 0.1
    assert not can_share(model)
    llama = model_of("llama")
    llama.trunk.config.attention_dropout = 0.1
    assert not can_share(llama)
    assert not can_share(torch.nn.Linear(2, 2))
