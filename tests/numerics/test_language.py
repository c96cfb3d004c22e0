"""The language objective on flattened rows equals the stock forward of transformers, in loss and in every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tunewright.adapt.language import LanguageModel
from tunewright.infer import likelihood
from tunewright.infer.batch import flatten
from tunewright.infer.predict import predict_logits
from tunewright.train.objective.token_cross_entropy import TokenCrossEntropy
from tunewright.types import Batch

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 97, "bos_token_id": 0,
         "eos_token_id": 1, "pad_token_id": 2}  # fmt: skip
GROUPED: dict[str, Any] = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=8)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=97, n_positions=64)),
    "gptj, a head with a bias": lambda: GPTJForCausalLM(
        GPTJConfig(n_embd=32, n_layer=2, n_head=4, vocab_size=97, n_positions=64, rotary_dim=4)
    ),
    "gemma2, logits capped": lambda: Gemma2ForCausalLM(
        Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=3.0, query_pre_attn_scalar=8)
    ),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=8)),
    "cohere, logits scaled": lambda: CohereForCausalLM(CohereConfig(**GROUPED, logit_scale=0.25)),
}
LENGTHS = (5, 17, 9, 2)


@pytest.fixture(params=FAMILIES, scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(5)
    made = FAMILIES[request.param]()
    with torch.no_grad():  # fresh heads are close to uniform, where little can go wrong
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made.eval()


def make_batch() -> tuple[list[torch.Tensor], list[torch.Tensor], Batch]:
    torch.manual_seed(6)
    ids = [torch.randint(3, 97, (length,)) for length in LENGTHS]
    weights = [torch.randint(0, 3, (length,)).float() for length in LENGTHS]
    for each in weights:
        each[0] = 0.0
    weights[3][1] = 1.0
    stream = flatten([row.tolist() for row in ids])
    return ids, weights, Batch({"source": stream}, {"target": torch.cat(weights)}, (0, 1, 2, 3), len(stream.ids))


def stock_losses(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """-log p of each token but the first, by the stock forward on the row alone."""
    logits = model(input_ids=ids.unsqueeze(0)).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("cells", [1 << 26, 97 * 16], ids=["one chunk", "several chunks"])
def test_loss_and_gradients_equal_the_stock_forward(model: Any, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "CHUNK_CELLS", cells)
    ids, weights, batch = make_batch()
    wanted = (
        sum((stock_losses(model, row) * weight[1:]).sum() for row, weight in zip(ids, weights, strict=True))
        / torch.cat(weights).sum()
    )
    assert isinstance(wanted, torch.Tensor)
    torch.autograd.backward(wanted)
    stock = gradients(model)
    loss, count = TokenCrossEntropy()(LanguageModel(model)(batch), batch.columns)
    torch.autograd.backward(loss / count)
    own = gradients(model)
    assert float(loss.detach() / count) == pytest.approx(float(wanted.detach()), abs=1e-5)
    assert own.keys() == stock.keys()
    for name, gradient in stock.items():
        assert torch.allclose(own[name], gradient, atol=2e-6, rtol=1e-4), name


@pytest.mark.parametrize("cells", [1 << 26, 97 * 16], ids=["one chunk", "several chunks"])
def test_smoothed_labels_are_torchs_own(model: Any, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients; what is judged stays the plain likelihood."""
    monkeypatch.setattr(likelihood, "CHUNK_CELLS", cells)
    ids, weights, batch = make_batch()
    wanted: Any = 0.0
    for row, weight in zip(ids, weights, strict=True):
        logits = model(input_ids=row.unsqueeze(0)).logits[0].float()
        losses = torch.nn.functional.cross_entropy(logits[:-1], row[1:], label_smoothing=0.2, reduction="none")
        wanted = wanted + (losses * weight[1:]).sum() / torch.cat(weights).sum()
    torch.autograd.backward(wanted)
    stock = gradients(model)
    smoothed = TokenCrossEntropy(label_smoothing=0.2)
    loss, count = smoothed(LanguageModel(model)(batch), batch.columns)
    torch.autograd.backward(loss / count)
    own = gradients(model)
    assert float(loss.detach() / count) == pytest.approx(float(wanted.detach()), abs=1e-5)
    assert own.keys() == stock.keys()
    for name, gradient in stock.items():
        assert torch.allclose(own[name], gradient, atol=2e-6, rtol=1e-4), name
    answers = torch.tensor([[3.0, 2.0], [5.0, 1.0]])
    assert [float(each) for each in smoothed.judge(answers, {})] == [8.0, 3.0]


def test_each_row_is_answered_as_it_would_be_alone(model: Any) -> None:
    ids, weights, _ = make_batch()
    found = predict_logits(
        LanguageModel(model).eval(), [row.tolist() for row in ids], weights=weights, tokens_per_batch=20
    )
    for row, weight, (loss, count) in zip(ids, weights, found, strict=True):
        with torch.no_grad():
            wanted = float(stock_losses(model, row)[weight[1:] > 0].sum())
        assert loss == pytest.approx(wanted, abs=2e-4)
        assert count == int((weight > 0).sum())


def test_a_frozen_head_gets_no_gradient_and_changes_no_other() -> None:
    torch.manual_seed(1)
    model = FAMILIES["llama"]().eval()
    _, _, batch = make_batch()
    losses = []
    grads = []
    for is_frozen in (False, True):
        model.lm_head.weight.requires_grad_(not is_frozen)
        loss, _ = TokenCrossEntropy()(LanguageModel(model)(batch), batch.columns)
        torch.autograd.backward(loss)
        losses.append(float(loss.detach()))
        grads.append(gradients(model))
    assert losses[0] == losses[1]
    assert set(grads[0]) - set(grads[1]) == {"lm_head.weight"}
    assert all(torch.equal(grads[0][name], value) for name, value in grads[1].items())


def test_bf16_products_stay_close() -> None:
    torch.manual_seed(2)
    model = LanguageModel(FAMILIES["llama"]().eval())
    _, _, batch = make_batch()
    with torch.no_grad():
        exact = float(TokenCrossEntropy()(model(batch), batch.columns)[0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = float(TokenCrossEntropy()(model(batch), batch.columns)[0])
    assert rounded == pytest.approx(exact, rel=5e-3)
    assert np.isfinite(rounded)
