"""A small model of each architecture that reads flattened tokens, with random weights, and a stream for it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

from tunewright.infer import flat
from tunewright.infer.batch import flatten
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
