"""The stock modules of transformers on flattened tokens: no padding in any linear layer, attention within each segment.

The architectures named here hand whatever they are called with down to their attention, which is replaced by
``attention.attend`` where segments are given, and is transformers' own where none are (generation with a cache, padded input).
Each family is proven equal to its stock forward (numerics tests); any other takes the padded path of ``forward``.
"""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.attention import attend
from tunewright.infer.rounding import round_stream, rounds
from tunewright.infer.segments import plan_segments
from tunewright.types import Stream

NAME = "tunewright"

FAMILIES = frozenset(
    {
        "bert",
        "roberta",
        "xlm-roberta",
        "distilbert",
        "gpt2",
        "llama",
        "qwen2",
        "qwen3",
        "gemma3_text",
        "smollm3",
        "mistral",
    }
)
"""``model_type`` of the architectures that are proven on flattened tokens."""

FUSED = "_fused_computation"
"""Where a trunk that is there only to compute holds what computes it in fewer passes (``train/fused``)."""

_OFFSET_BY_PAD = frozenset({"roberta", "xlm-roberta"})
"""They count positions from the one after the pad id."""


def register() -> None:
    """Make the attention known to transformers under ``NAME``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention_of(model_type: str, supports_sdpa: bool) -> str:
    """The name of the attention with which a model of this type is loaded."""
    if model_type in FAMILIES:
        register()
        return NAME
    return "sdpa" if supports_sdpa else "eager"


def is_flat(trunk: Any) -> bool:
    """Whether the trunk reads flattened tokens."""
    return bool(trunk.config._attn_implementation == NAME)


def positions_of(trunk: Any, stream: Stream) -> torch.Tensor:
    """Each token's row in the table of positions[T], as the architecture counts them."""
    if trunk.config.model_type in _OFFSET_BY_PAD:
        return stream.positions + int(trunk.config.pad_token_id) + 1
    return stream.positions


def take_rows(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Distinct rows[W, ...] of rows[T, ...]; as each is taken once, gradients are written and not added up."""
    taken: torch.Tensor = _Taken.apply(rows, wanted)  # type: ignore[no-untyped-call]
    return taken


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(wanted)
        ctx.shape = rows.shape
        return rows.index_select(0, wanted)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (wanted,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.shape).index_copy_(0, wanted, grads[0]), None


def run_flat(trunk: Any, stream: Stream, wanted: torch.Tensor | None = None) -> torch.Tensor:
    """Hidden states[T, H] of the last layer for the flattened tokens of ``stream``, or those of the ``wanted[W]`` alone."""
    if not rounds(trunk):
        return _run(trunk, stream, wanted)
    number = len(stream.ids if wanted is None else wanted)
    return _run(trunk, *round_stream(stream, wanted))[:number]


def _run(trunk: Any, stream: Stream, wanted: torch.Tensor | None) -> torch.Tensor:
    fused = getattr(trunk, FUSED, None)
    if fused is not None:
        states: torch.Tensor = fused(stream, wanted)
        return states
    options = {"use_cache": False} if getattr(trunk.config, "use_cache", False) else {}
    # a mask of four dimensions is taken as made: none is built, and the attention looks at the segments instead
    found = trunk(
        input_ids=stream.ids.unsqueeze(0),
        position_ids=positions_of(trunk, stream).unsqueeze(0),
        attention_mask=torch.empty(1, 1, 0, 0, device=stream.ids.device),
        segments=plan_segments(stream.bounds.tolist(), stream.ids.device, stream.parents),
        **options,
    )
    hidden: torch.Tensor = found.last_hidden_state[0]
    return hidden if wanted is None else take_rows(hidden, wanted)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    segments = options.pop("segments", None)
    if segments is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    scale, window = options.get("scaling"), options.get("sliding_window")
    read = attend(
        query[0].transpose(0, 1).to(value.dtype),
        key[0].transpose(0, 1).to(value.dtype),
        value[0].transpose(0, 1),
        segments,
        scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
        causal=bool(module.is_causal),
        window=None if window is None else int(window),
        dropout=float(options.get("dropout") or 0.0),
    )
    return read.unsqueeze(0), None
