"""Gemma 3 (Gemma team 2025, section 2): Llama's layers with norms before and after each half, heads normed, and a gelu as gate.

    d = norm(attention(q, k, v) W);    s, y = s + d, norm(s + d)
    d = norm((gelu(y G) * (y U)) D);   s, y = s + d, norm(s + d)

Layers with a window turn their positions at a rate of their own.
"""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.attention import Turns
from tunewright.train.fused.kept import Made
from tunewright.train.fused.llama import Layer, LlamaTrunk


class GemmaTrunk(LlamaTrunk):
    """Computes a trunk of Gemma 3 on flattened tokens."""

    families = frozenset({"gemma3_text"})
    activation = "gelu_pytorch_tanh"
    from_one = True

    @classmethod
    def fits(cls, trunk: Any) -> bool:
        """Whether it is one that looks back only, with plain scores."""
        config = trunk.config
        if not super().fits(trunk):
            return False
        return not config.use_bidirectional_attention and not config.attn_logit_softcapping

    def _add(
        self, layer: Layer, following: Any, total_TH: torch.Tensor, added_TH: torch.Tensor
    ) -> tuple[torch.Tensor, Made]:
        module = layer.module
        added_TH = self._norm(added_TH, module.post_attention_layernorm).rows
        total_TH, y = self._add_norm(total_TH, added_TH, module.pre_feedforward_layernorm)
        added_TH = self._norm(self._gated(layer, "geglu", y), module.post_feedforward_layernorm).rows
        return self._add_norm(total_TH, added_TH, following)

    def _turns(self, positions: torch.Tensor) -> list[Turns | None]:
        kinds = [layer.module.self_attn.layer_type for layer in self.layers]
        empty, places = torch.empty(0), positions.unsqueeze(0)
        made = {kind: self._turn(*self.trunk.rotary_emb(empty, places, kind)) for kind in sorted({*kinds})}
        return [made[kind] for kind in kinds]
