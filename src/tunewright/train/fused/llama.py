"""Llama and its kin (Touvron et al. 2023, section 2.2): pre-norm by root mean square, rotary positions, gated linear units.

    s, y = s + d, norm(s + d)      q, k, v = y W;  turned by position;  d = attention(q, k, v) W
    s, y = s + d, norm(s + d)      d = (silu(y G) * (y U)) D

Qwen 3 norms each head of queries and keys before it is turned; SmolLM 3 leaves those of some layers as they are.
Shape letters: T tokens, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.infer.attention import Heads, Turns, attend_joined
from tunewright.infer.flat import take_rows
from tunewright.infer.native.functions import Gate, Kernels
from tunewright.infer.segments import Segments, plan_segments
from tunewright.train.fused.join import Joined, join
from tunewright.train.fused.kept import Apply, Made, again_through, apply
from tunewright.train.fused.operators import RmsNorm, gated
from tunewright.train.recompute import narrows, recomputes, through
from tunewright.types import Stream

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a decoder with its projections joined; ``norms`` are those of each head of queries and of keys."""

    module: Any
    project: Apply
    collect: Apply
    widen: Apply
    narrow: Apply
    heads: Heads
    window: int | None
    norms: tuple[Any, Any] | None


class LlamaTrunk:
    """Computes a trunk of the family on flattened tokens."""

    families = FAMILIES
    activation = "silu"
    from_one = False
    """Whether norms keep their weight minus one."""

    def __init__(self, trunk: Any, kernels: Kernels) -> None:
        """Join what can be joined in ``trunk``, in place."""
        self.trunk = trunk
        self.kernels = kernels
        self.joined: list[Joined] = []
        config = trunk.config
        self.layers = [self._layer(module, config) for module in trunk.layers[: config.num_hidden_layers]]
        self.forgets = not any(recomputes(layer.module) for layer in self.layers)
        self.rms_norm = RmsNorm(kernels, self.from_one, self.forgets)

    @classmethod
    def fits(cls, trunk: Any) -> bool:
        """Whether the trunk is one of the family, with the activation that the kernel knows."""
        config = trunk.config
        activation = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
        return config.model_type in cls.families and activation == cls.activation

    def __call__(self, stream: Stream, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states[T, H] of the last layer, or those of the ``wanted[W]`` alone."""
        segments = plan_segments(stream.bounds.tolist(), parents=stream.parents)
        turns = self._turns(stream.positions)
        total_TH: torch.Tensor = self.trunk.embed_tokens(stream.ids)
        y = self._norm(total_TH, self.layers[0].module.input_layernorm)
        following: Sequence[Any] = [*(layer.module.input_layernorm for layer in self.layers[1:]), self.trunk.norm]
        for layer, norm, turn in zip(self.layers, following, turns, strict=True):
            read = wanted if layer is self.layers[-1] else None
            total_TH, y = through(layer.module, self._pass, layer, norm, total_TH, y, segments, turn, read)
        return y.rows

    def _pass(
        self,
        layer: Layer,
        following: Any,
        total_TH: torch.Tensor,
        y: Made,
        segments: Segments,
        turns: Turns | None,
        wanted: torch.Tensor | None,
    ) -> tuple[torch.Tensor, Made]:
        """The sum behind a layer and the norm that follows; behind its attention of the ``wanted`` tokens alone."""
        read_TH = self._read(layer, y, segments, turns)
        if wanted is not None:
            read_TH, total_TH = take_rows(read_TH, wanted), take_rows(total_TH, wanted)
        return self._add(layer, following, total_TH, layer.collect(read_TH))

    def _read(self, layer: Layer, y: Made, segments: Segments, turns: Turns | None) -> torch.Tensor:
        """What the attention of a layer reads."""
        attention = layer.module.self_attn
        rows = apply(layer.project, y)
        if layer.norms is not None:
            rows = self._norm_heads(rows, layer.heads, *layer.norms)
        return attend_joined(
            rows,
            layer.heads,
            turns,
            segments,
            scale=float(attention.scaling),
            causal=True,
            window=layer.window,
            dropout=float(attention.attention_dropout) if layer.module.training else 0.0,
        )

    def _add(
        self, layer: Layer, following: Any, total_TH: torch.Tensor, added_TH: torch.Tensor
    ) -> tuple[torch.Tensor, Made]:
        """The sum with what the attention gave and with what is computed from it, and the norm that follows."""
        total_TH, y = self._add_norm(total_TH, added_TH, layer.module.post_attention_layernorm)
        return self._add_norm(total_TH, self._gated(layer, "swiglu", y), following)

    def _gated(self, layer: Layer, name: Gate, y: Made) -> torch.Tensor:
        wide = again_through(layer.widen, y, forgets=narrows(layer.module))
        return apply(layer.narrow, gated(self.kernels, name, wide, forgets=self.forgets))

    def _norm(self, x: torch.Tensor, norm: Any) -> Made:
        return self.rms_norm(x, norm.weight, _epsilon(norm))

    def _add_norm(self, x: torch.Tensor, add: torch.Tensor, norm: Any) -> tuple[torch.Tensor, Made]:
        return self.rms_norm.add(x, add, norm.weight, _epsilon(norm))

    def _norm_heads(self, rows: torch.Tensor, heads: Heads, of_queries: Any, of_keys: Any) -> torch.Tensor:
        """Rows[T, (H + 2 G) D] with each head of queries and keys normed by itself."""
        queries, keys, values = (part.flatten(1) for part in heads.split(rows))
        normed = [
            self._norm(part.reshape(-1, heads.width), norm).rows.view(len(rows), -1)
            for part, norm in ((queries, of_queries), (keys, of_keys))
        ]
        return torch.cat([*normed, values], dim=1)

    def _turns(self, positions: torch.Tensor) -> list[Turns | None]:
        """How each layer's queries and keys are turned; None: not at all."""
        turns = self._turn(*self.trunk.rotary_emb(torch.empty(0), positions.unsqueeze(0)))
        return [turns if getattr(layer.module.self_attn, "use_rope", True) else None for layer in self.layers]

    def _turn(self, cosines: torch.Tensor, sines: torch.Tensor) -> Turns:
        half = cosines.shape[-1] // 2
        return Turns(self.kernels, cosines[0, :, :half].contiguous(), sines[0, :, :half].contiguous())

    def _layer(self, module: Any, config: Any) -> Layer:
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
        norms = (attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None
        project, collect, widen, narrow = applied
        return Layer(module, project, collect, widen, narrow, heads, None if window is None else int(window), norms)


def _epsilon(norm: Any) -> float:
    return float(norm.eps if hasattr(norm, "eps") else norm.variance_epsilon)
