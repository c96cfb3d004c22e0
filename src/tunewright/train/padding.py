"""Padded rectangles on either side, and answers written together: the same numbers as rows that stand alone.

Shape letters: T tokens, S segments, L longest segment, H hidden width, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import torch

from tunewright.infer.forward import run_padded
from tunewright.types import Ints, Sampling, Stream


def right_padded(trunk: Any, stream: Stream) -> torch.Tensor:
    """Hidden states[T, H] of the stock forward with the empty slots behind each segment."""
    return run_padded(trunk, stream)


def left_padded(trunk: Any, stream: Stream) -> torch.Tensor:
    """The same with the empty slots before each segment, and positions that begin with its first token."""
    lengths_S = stream.bounds[1:] - stream.bounds[:-1]
    segments, longest = len(lengths_S), int(lengths_S.max())
    slots_L = torch.arange(longest, device=lengths_S.device)
    positions_SL = slots_L - (longest - lengths_S).unsqueeze(1)
    real_SL = positions_SL >= 0
    padding = trunk.get_input_embeddings().padding_idx
    ids_SL = torch.full((segments, longest), padding or 0, device=stream.ids.device)
    ids_SL[real_SL] = stream.ids
    options: dict[str, Any] = {"use_cache": False} if getattr(trunk.config, "use_cache", False) else {}
    if takes_positions(trunk) and padding in (None, 0):  # one that counts from its pad id finds positions by itself
        options["position_ids"] = positions_SL.clamp(min=0)
    hidden_SLH: torch.Tensor = trunk(input_ids=ids_SL, attention_mask=real_SL.long(), **options).last_hidden_state
    return hidden_SLH[real_SL]


def takes_positions(model: Any) -> bool:
    """Whether positions are an argument of the forward."""
    return "position_ids" in inspect.signature(model.forward).parameters


def next_token_logits(model: Any, prompts: Sequence[Ints]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits[S, V] of the second token of each answer: as answers are written together, and as the trunk reads each alone."""
    from tunewright.infer.engine._rows import Request, Rows

    class Listening(Rows):
        """Notes the logits from which tokens are chosen."""

        def _choose(self, logits_BV: torch.Tensor) -> torch.Tensor:
            self.heard = logits_BV.clone()
            return super()._choose(logits_BV)

    requests = [
        Request(tuple(map(int, ids)), Sampling(max_tokens=3, temperature=0.0), SimpleQueue()) for ids in prompts
    ]
    with torch.no_grad():
        rows = Listening(model, stop_ids=())
        rows.join(requests)
        begun = list(rows.requests)
        rows.step()
        read = [[*request.prompt, request.tokens[0]] for request in begun]
        alone_SV = torch.cat([_last_logits(model, ids) for ids in read])
    return rows.heard, alone_SV


def _last_logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Logits[1, V] behind the last token of one row, without padding or a cache."""
    row = torch.as_tensor(ids, device=next(model.parameters()).device).unsqueeze(0)
    logits_1V: torch.Tensor = model(input_ids=row, use_cache=False).logits[:, -1].float()
    return logits_1V
