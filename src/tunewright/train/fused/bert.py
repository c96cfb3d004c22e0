"""BERT and its kin (Devlin et al. 2019, section 3): embeddings with learnt positions, post-norm, dropout throughout.

    x = norm(x + dropout(attention(x Q, x K, x V) O))      x = norm(x + dropout(gelu(x I) W))

Shape letters: T tokens, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunewright.infer.attention import Heads, attend_joined
from tunewright.infer.flat import positions_of, take_rows
from tunewright.infer.native.functions import Kernels
from tunewright.infer.segments import Segments, plan_segments
from tunewright.train.fused.join import Joined, join
from tunewright.train.fused.kept import Apply, Made, again_through, apply
from tunewright.train.fused.operators import activated, add_layer_norm, drop
from tunewright.train.recompute import narrows, recomputes, through
from tunewright.types import Stream

FAMILIES = frozenset({"bert", "roberta", "xlm-roberta"})


@dataclass(frozen=True, slots=True)
class _Layer:
    module: Any
    project: Apply
    collect: Apply
    widen: Apply
    narrow: Apply


class BertTrunk:
    """Computes a trunk of the family on flattened tokens."""

    def __init__(self, trunk: Any, kernels: Kernels) -> None:
        """Join what can be joined in ``trunk``, in place."""
        self.trunk = trunk
        self.kernels = kernels
        self.joined: list[Joined] = []
        self.layers: list[_Layer] = []
        for module in trunk.encoder.layer:
            attention = module.attention.self
            groups = ([attention.query, attention.key, attention.value], [module.attention.output.dense],
                      [module.intermediate.dense], [module.output.dense])  # fmt: skip
            applied = []
            for group in groups:
                apply, joined = join(kernels, group)
                applied.append(apply)
                self.joined += joined
            project, collect, widen, narrow = applied
            self.layers.append(_Layer(module, project, collect, widen, narrow))
        self.forgets = not any(recomputes(layer.module) for layer in self.layers)
        config = trunk.config
        width = config.hidden_size // config.num_attention_heads
        self.heads = Heads(config.num_attention_heads, config.num_attention_heads, width)

    @staticmethod
    def fits(trunk: Any) -> bool:
        """Whether the trunk is an encoder of the family with learnt positions."""
        config = trunk.config
        learnt = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
        return config.model_type in FAMILIES and learnt and not config.is_decoder and not config.add_cross_attention

    def __call__(self, stream: Stream, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states[T, H] of the last layer, or those of the ``wanted[W]`` alone."""
        segments = plan_segments(stream.bounds.tolist())
        x = self._embed(stream)
        for layer in self.layers:
            read = wanted if layer is self.layers[-1] else None
            x = through(layer.module, self._pass, layer, x, segments, read)
        return x.rows

    def _embed(self, stream: Stream) -> Made:
        embeddings = self.trunk.embeddings
        words_TH = embeddings.word_embeddings(stream.ids)
        places_TH = embeddings.position_embeddings(positions_of(self.trunk, stream))
        places_TH = places_TH + embeddings.token_type_embeddings.weight[0]
        x_TH = add_layer_norm(self.kernels, words_TH, places_TH, embeddings.LayerNorm).rows
        return Made(drop(self.kernels, x_TH, _chance(embeddings.dropout)), None)

    def _pass(self, layer: _Layer, x: Made, segments: Segments, wanted: torch.Tensor | None) -> Made:
        """Behind the attention of the last layer, tokens that are not wanted are needed by nobody."""
        module = layer.module
        attention, after = module.attention.self, module.attention.output
        read_TH = attend_joined(
            apply(layer.project, x),
            self.heads,
            None,
            segments,
            scale=float(attention.scaling),
            causal=False,
            dropout=_chance(attention.dropout),
        )
        x_TH = x.rows
        if wanted is not None:
            read_TH, x_TH = take_rows(read_TH, wanted), take_rows(x_TH, wanted)
        x = self._add(layer.collect(read_TH), x_TH, after)
        wide = again_through(layer.widen, x, forgets=narrows(module))
        widened = activated(module.intermediate.intermediate_act_fn, wide, forgets=self.forgets)
        return self._add(apply(layer.narrow, widened), x.rows, module.output)

    def _add(self, added_TH: torch.Tensor, x_TH: torch.Tensor, output: Any) -> Made:
        return add_layer_norm(
            self.kernels, added_TH, x_TH, output.LayerNorm, _chance(output.dropout), forgets=self.forgets
        )


def _chance(layer: nn.Dropout) -> float:
    return float(layer.p) if layer.training else 0.0
