"""Llama and its kin (Touvron et al. 2023, section 2.2): pre-norm by root mean square, rotary positions, gated linear units.

    s, y = s + d, norm(s + d)      q, k, v = y W;  turned by position;  d = attention(q, k, v) W
    s, y = s + d, norm(s + d)      d = (silu(y G) * (y U)) D

Shape letters: T tokens, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.infer.attention import Heads, Turns, attend_joined
from tunewright.infer.native.functions import Kernels
from tunewright.infer.segments import Segments, plan_segments
from tunewright.train.fused.join import Apply, Joined, join
from tunewright.train.fused.operators import add_rms_norm, rms_norm, swiglu
from tunewright.types import Stream

FAMILIES = frozenset({"llama", "mistral", "qwen2"})


@dataclass(frozen=True, slots=True)
class _Layer:
    module: Any
    project: Apply
    collect: Apply
    widen: Apply
    narrow: Apply
    heads: Heads
    window: int | None


class LlamaTrunk:
    """Computes a trunk of the family on flattened tokens."""

    def __init__(self, trunk: Any, kernels: Kernels) -> None:
        """Join what can be joined in ``trunk``, in place."""
        self.trunk = trunk
        self.kernels = kernels
        self.joined: list[Joined] = []
        config = trunk.config
        self.layers = [self._layer(module, config) for module in trunk.layers[: config.num_hidden_layers]]

    @staticmethod
    def fits(trunk: Any) -> bool:
        """Whether the trunk is one of the family, with the activation that the kernel knows."""
        return trunk.config.model_type in FAMILIES and trunk.config.hidden_act == "silu"

    def __call__(self, stream: Stream) -> torch.Tensor:
        """Hidden states[T, H] of the last layer."""
        segments = plan_segments(stream.bounds.tolist())
        turns = self._turns(stream.positions)
        total_TH: torch.Tensor = self.trunk.embed_tokens(stream.ids)
        first = self.layers[0].module.input_layernorm
        y_TH = rms_norm(self.kernels, total_TH, first.weight, first.variance_epsilon)
        following: Sequence[Any] = [*(layer.module.input_layernorm for layer in self.layers[1:]), self.trunk.norm]
        for layer, norm in zip(self.layers, following, strict=True):
            total_TH, y_TH = self._pass(layer, norm, total_TH, y_TH, segments, turns)
        return y_TH

    def _pass(
        self, layer: _Layer, norm: Any, total_TH: torch.Tensor, y_TH: torch.Tensor, segments: Segments, turns: Turns
    ) -> tuple[torch.Tensor, torch.Tensor]:
        module = layer.module
        attention, between = module.self_attn, module.post_attention_layernorm
        read = attend_joined(
            layer.project(y_TH),
            layer.heads,
            turns,
            segments,
            scale=float(attention.scaling),
            causal=True,
            window=layer.window,
            dropout=float(attention.attention_dropout) if module.training else 0.0,
        )
        added = layer.collect(read)
        total_TH, y_TH = add_rms_norm(self.kernels, total_TH, added, between.weight, between.variance_epsilon)
        added = layer.narrow(swiglu(self.kernels, layer.widen(y_TH)))
        return add_rms_norm(self.kernels, total_TH, added, norm.weight, norm.variance_epsilon)

    def _turns(self, positions: torch.Tensor) -> Turns:
        cosines, sines = self.trunk.rotary_emb(torch.empty(0), positions.unsqueeze(0))
        half = cosines.shape[-1] // 2
        return Turns(self.kernels, cosines[0, :, :half].contiguous(), sines[0, :, :half].contiguous())

    def _layer(self, module: Any, config: Any) -> _Layer:
        attention, mlp = module.self_attn, module.mlp
        groups = (
            [attention.q_proj, attention.k_proj, attention.v_proj], [attention.o_proj], [mlp.gate_proj, mlp.up_proj],
            [mlp.down_proj],
        )  # fmt: skip
        applied = []
        for group in groups:
            apply, joined = join(self.kernels, group)
            applied.append(apply)
            self.joined += joined
        heads = Heads(config.num_attention_heads, config.num_key_value_heads, attention.head_dim)
        window = getattr(attention, "sliding_window", None)
        if config.model_type == "mistral":
            window = config.sliding_window
        project, collect, widen, narrow = applied
        return _Layer(module, project, collect, widen, narrow, heads, None if window is None else int(window))
