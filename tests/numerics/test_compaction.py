"""Training only the embedding rows that occur is training them all: same losses, same weights, the rest untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tunewright.adapt.language import LanguageModel
from tunewright.train.batches import Examples
from tunewright.train.rows import compact, expand
from tunewright.types import Ints

VOCABULARY = 2_000
OCCURRING = np.unique(np.concatenate([np.arange(5, 9), np.arange(300, 1_900, 40)]))


@pytest.fixture
def examples(make_examples: Any) -> Examples:
    """Rows over a few dozen of the 2,000 ids."""
    drawn: Examples = make_examples(11, largest_id=len(OCCURRING) - 1)
    return Examples([OCCURRING[ids] for ids in drawn.ids], drawn.targets, drawn.row_ids)


def translated(examples: Examples, remap: Ints) -> Examples:
    return Examples([remap[ids] for ids in examples.ids], examples.targets, examples.row_ids)


def train(build_loop: Any, module: Any, examples: Examples, **options: object) -> list[float]:
    """Twenty updates; the loss and the gradient's norm of each."""
    loop = build_loop(module, examples, epochs=7, **options)
    return [fact for _, step in zip(range(20), loop.steps(), strict=False) for fact in (step.loss, step.gradient_norm)]


@pytest.mark.parametrize(
    "architecture", ["bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "llama", "gemma3_text"]
)
def test_twenty_updates_end_at_the_same_weights(
    architecture: str, make_module: Callable[..., Any], build_loop: Any, examples: Examples
) -> None:
    """AdamW with dropout and clipping on. The bits differ only by the order in which the norm is summed."""
    plain, small = (make_module(architecture, vocab_size=VOCABULARY) for _ in range(2))
    start = plain.trunk.get_input_embeddings().weight.detach().clone()

    compaction = compact(small, OCCURRING)
    assert compaction is not None
    assert small.trunk.get_input_embeddings().weight.shape[0] <= len(OCCURRING) + 2
    losses = train(build_loop, small, translated(examples, compaction.remap))
    expand(small.trunk, compaction)

    assert losses == pytest.approx(train(build_loop, plain, examples), rel=1e-5)
    wanted = plain.state_dict()
    assert wanted.keys() == small.state_dict().keys()
    for name, value in small.state_dict().items():
        assert (value - wanted[name]).abs().max() < 1e-5, name

    found = small.trunk.get_input_embeddings().weight
    moved = (found != start).any(dim=1).nonzero()[:, 0].tolist()
    assert set(moved) == set(np.concatenate(examples.ids).tolist()), "exactly the rows that occur have moved"


def test_without_clipping_the_bits_are_the_same(
    make_module: Callable[..., Any], build_loop: Any, examples: Examples
) -> None:
    """Nothing but the norm of all gradients knows how long the embedding is."""
    plain, small = (make_module("roberta", vocab_size=VOCABULARY) for _ in range(2))
    compaction = compact(small, OCCURRING)
    assert compaction is not None
    for module, rows in ((plain, examples), (small, translated(examples, compaction.remap))):
        train(build_loop, module, rows, clip_norm=0.0)
    expand(small.trunk, compaction)
    for name, value in small.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


def test_momentum_without_adaptive_moments_is_the_same_too(
    make_module: Callable[..., Any], build_loop: Any, examples: Examples
) -> None:
    plain, small = (make_module("bert", vocab_size=VOCABULARY) for _ in range(2))
    compaction = compact(small, OCCURRING)
    assert compaction is not None
    sgd = {"name": "sgd"}
    losses = train(build_loop, small, translated(examples, compaction.remap), optimizer=sgd)
    assert losses == pytest.approx(train(build_loop, plain, examples, optimizer=sgd), rel=1e-5)


def test_expanding_gives_the_module_back_as_it_was(make_module: Callable[..., Any]) -> None:
    module = make_module("roberta", vocab_size=VOCABULARY)
    embedding = module.trunk.get_input_embeddings()
    before = (embedding.weight.detach().clone(), embedding.num_embeddings, embedding.padding_idx, type(embedding))
    embedding.weight.requires_grad_(False)
    compaction = compact(module, OCCURRING)
    assert compaction is not None
    assert not embedding.weight.requires_grad
    expand(module.trunk, compaction)
    after = module.trunk.get_input_embeddings()
    assert torch.equal(after.weight, before[0])
    assert (after.num_embeddings, after.padding_idx, type(after)) == before[1:]
    assert not after.weight.requires_grad


def test_the_pad_row_keeps_its_number(make_module: Callable[..., Any]) -> None:
    """RoBERTa counts positions from the value of the pad id."""
    module = make_module("roberta", vocab_size=VOCABULARY)
    compaction = compact(module, OCCURRING)
    assert compaction is not None
    assert module.trunk.get_input_embeddings().padding_idx == 1
    assert list(compaction.remap[:2]) == [0, 1]
    assert compaction.remap[OCCURRING].min() == 2
    assert (np.delete(compaction.remap, [0, 1, *OCCURRING]) == -1).all()


def test_it_is_left_alone_where_it_would_not_pay(make_module: Callable[..., Any]) -> None:
    module = make_module("bert", vocab_size=VOCABULARY)
    assert compact(module, np.arange(VOCABULARY // 2 + 1)) is None
    assert module.trunk.get_input_embeddings().num_embeddings == VOCABULARY


def test_a_matrix_that_two_layers_share_is_left_alone(make_module: Callable[..., Any]) -> None:
    module = make_module("bert", vocab_size=VOCABULARY)
    module.trunk.output = torch.nn.Linear(32, VOCABULARY, bias=False)
    module.trunk.output.weight = module.trunk.get_input_embeddings().weight
    assert compact(module, OCCURRING) is None


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_language_model_keeps_its_ids(is_tied: bool) -> None:
    """They are its targets, too: translated, it would learn to say other tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=VOCABULARY,
        tie_word_embeddings=is_tied,
    )  # fmt: skip
    module = LanguageModel(LlamaForCausalLM(config))
    assert compact(module, OCCURRING) is None
    assert module.trunk.get_input_embeddings().num_embeddings == VOCABULARY
