"""How much memory a training takes, part by part: the arithmetic behind "the largest model that fits".

For decoders of Llama's kind (grouped attention, gated MLP, RMS norms: Llama, Mistral, Qwen, Gemma) trained by AdamW with
master weights in fp32. What the parts leave out (the device's own context, fragments between tensors) is for the margin.

Symbols: H width, A width of all query heads, K of all key heads, M inner width of the MLP, L layers, V vocabulary, T padded
tokens in one micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tunewright.infer.likelihood import CHUNK_CELLS

FP32, BF16 = 4, 2
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits a weight in NF4 with double quantisation: the code, and its block's magnitude in 8 bits with a scale to 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes that decide. ``ties_head`` says that the output layer is the input embedding."""

    width: int
    attention: int
    keys: int
    inner: int
    layers: int
    vocabulary: int
    ties_head: bool

    @property
    def in_layers(self) -> int:
        """Weights of the projections: L (2 H A + 2 H K + 3 H M)."""
        return self.layers * self.width * (2 * self.attention + 2 * self.keys + 3 * self.inner)

    @property
    def outside(self) -> int:
        """Weights of the embedding and the output layer: V H, twice where they are not tied."""
        return self.vocabulary * self.width * (1 if self.ties_head else 2)

    def adapter(self, rank: int) -> int:
        """Weights of a low-rank adapter beside every projection: rank (inputs + outputs) of each."""
        ends = 2 * (self.width + self.attention) + 2 * (self.width + self.keys) + 3 * (self.width + self.inner)
        return self.layers * rank * ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is done with it: ``rank`` 0 trains every weight, ``bits`` are those of a frozen projection's weight."""

    tokens: int
    rank: int = 0
    bits: float = 32.0
    bf16: bool = True
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of an update, part by part."""

    weights: int
    gradients: int
    moments: int
    activations: int
    work: int

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return sum(int(getattr(self, part.name)) for part in fields(self))


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The sizes that a transformers ``config.json`` names."""
    heads = int(config["num_attention_heads"])
    per_head = int(config.get("head_dim") or config["hidden_size"] // heads)
    return Shape(
        width=int(config["hidden_size"]),
        attention=heads * per_head,
        keys=int(config.get("num_key_value_heads") or heads) * per_head,
        inner=int(config["intermediate_size"]),
        layers=int(config["num_hidden_layers"]),
        vocabulary=int(config["vocab_size"]),
        ties_head=bool(config.get("tie_word_embeddings", False)),
    )


def memory(shape: Shape, job: Job) -> Memory:
    """What a training takes.

    weights      in_layers bits / 8 + 4 (outside + adapter)
    gradients    4 trained; moments 8 trained (AdamW's two)
    activations  L T per_layer, or with recompute the states between layers and one layer at a time: L T 4 H + T per_layer
    work         the widest matrix as it is multiplied, the output layer likewise, and a chunk of logits three times
    """
    adapter = shape.adapter(job.rank)
    trained = adapter or shape.in_layers + shape.outside
    per_layer = _kept_per_token(shape, job)
    kept = shape.layers * shape.width * FP32 + per_layer if job.recompute else shape.layers * per_layer
    return Memory(
        weights=int(shape.in_layers * job.bits / 8) + FP32 * (shape.outside + adapter),
        gradients=FP32 * trained,
        moments=2 * FP32 * trained,
        activations=job.tokens * kept,
        work=_work(shape, job),
    )


def _kept_per_token(shape: Shape, job: Job) -> int:
    """Bytes of one layer's tensors that the way back needs, for one token.

    In fp32 always: the states around the two norms (5 H). In the precision of products: queries and result (2 A), keys and
    values (2 K), the gate, its activation, the other half and their product (4 M), and in bf16 copies of what enters (3 H).
    """
    in_products = 2 * shape.attention + 2 * shape.keys + 4 * shape.inner
    if job.bf16:
        return FP32 * 5 * shape.width + BF16 * (3 * shape.width + in_products)
    return FP32 * (5 * shape.width + in_products)


def _work(shape: Shape, job: Job) -> int:
    product = BF16 if job.bf16 else FP32
    copied = job.bf16 or job.bits < 32
    matrix = shape.width * shape.inner * ((product if copied else 0) + (6 if job.bits < 32 else 0))
    head = shape.vocabulary * shape.width * (BF16 if job.bf16 else 0)
    chunk = min(job.tokens, max(16, CHUNK_CELLS // shape.vocabulary)) * shape.vocabulary * (2 * FP32 + product)
    return matrix + head + chunk
