"""Move a flattened stream through a trunk: hidden states for every token, without the padding in the result.

Architectures named in ``flat`` read the tokens as they are. For any other there is the padded path, which is right for every
architecture: segments are laid into a rectangle [S, L], the stock forward runs with an attention mask, and the real tokens
are taken out again. Faster paths must equal it (numerics tests).

Shape letters: T tokens, S segments, L longest segment, H hidden width, W wanted tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from tunewright.infer.flat import is_flat, run_flat, take_rows
from tunewright.types import Stream


def run_trunk(trunk: torch.nn.Module, stream: Stream, wanted: torch.Tensor | None = None) -> torch.Tensor:
    """Hidden states[T, H] of the last layer for the flattened tokens of ``stream``.

    Given ``wanted[W]``, distinct tokens, those of these alone, [W, H]: what only the others need is left out where it can be.
    """
    if is_flat(trunk):
        return run_flat(trunk, stream, wanted)
    states = run_padded(trunk, stream)
    return states if wanted is None else take_rows(states, wanted)


def run_padded(trunk: torch.nn.Module, stream: Stream) -> torch.Tensor:
    """The same by the stock forward on a padded rectangle."""
    assert not stream.parents, "a rectangle holds whole rows"
    lengths_S = stream.bounds[1:] - stream.bounds[:-1]
    segments, longest = len(lengths_S), int(lengths_S.max())
    if segments * longest == len(stream.ids):
        hidden_SLH = _call(trunk, stream.ids.view(segments, longest), mask=None)
        return hidden_SLH.reshape(len(stream.ids), -1)
    rows_T = torch.repeat_interleave(torch.arange(segments, device=stream.ids.device), lengths_S)
    slots_T = rows_T * longest + stream.positions
    ids_SL = torch.full((segments * longest,), _padding_id(trunk), device=stream.ids.device)
    ids_SL[slots_T] = stream.ids
    mask_SL = torch.zeros(segments * longest, dtype=torch.int64, device=stream.ids.device)
    mask_SL[slots_T] = 1
    hidden_SLH = _call(trunk, ids_SL.view(segments, longest), mask=mask_SL.view(segments, longest))
    return hidden_SLH.reshape(segments * longest, -1)[slots_T]


def _call(trunk: Any, ids_SL: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    options = {"use_cache": False} if getattr(trunk.config, "use_cache", False) else {}
    hidden: torch.Tensor = trunk(input_ids=ids_SL, attention_mask=mask, **options).last_hidden_state
    return hidden


def _padding_id(trunk: Any) -> int:
    """An id for the empty slots: the pad id, which RoBERTa leaves out when it counts positions, or any valid one."""
    embeddings: torch.nn.Embedding = trunk.get_input_embeddings()
    if embeddings.padding_idx is not None:
        return int(embeddings.padding_idx)
    configured = getattr(trunk.config, "pad_token_id", None)
    return int(configured) if configured is not None and 0 <= configured < embeddings.num_embeddings else 0
