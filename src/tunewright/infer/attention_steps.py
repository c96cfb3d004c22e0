"""The steps of attention around its products: laying segments out, softmax with dropout, and back; by torch or by kernels.

Rows[T, H, D] of a stream are laid out as [B, R, L, D], B = G * S. The softmax takes scores[B, R * Q, K] of a block of queries
and knows which keys each query sees. What the backward pass needs is kept by the caller and handed back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch

from tunewright.infer.native.functions import MOST_KEYS, Dropout, Kernels, kernels, new_dropout
from tunewright.infer.segments import Group


@dataclass(frozen=True, slots=True)
class View:
    """Which keys[K] the queries[Q] of a block see: query 0 stands at key ``offset``.

    With ``causal`` those up to itself, the last ``window`` of them if there is one; else the first ``lengths[B]``, None: all.
    """

    queries: int
    keys: int
    offset: int
    causal: bool
    window: int | None
    lengths: torch.Tensor | None


class Steps(Protocol):
    """One way of computing it."""

    scale: float
    """What multiplies the scores."""

    scales_queries: bool
    """Whether it does so to the queries, before the product; otherwise within the softmax."""

    def lay(self, group: Group, rows: torch.Tensor, num_kv: int, *, is_flow: bool = False) -> torch.Tensor:
        """rows[T, H, D] of a group as a copy [G * S, H / G, L, D]; what flows into an empty slot is zero."""
        ...

    def take(self, group: Group, laid: torch.Tensor, rows: torch.Tensor) -> None:
        """Write [G * S, R, L, D] into the group's rows of [T, H, D]."""
        ...

    def forward(self, scores: torch.Tensor, view: View, dropout: float) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Probabilities, what dropout leaves of them, and its mask; may overwrite the scores."""
        ...

    def used(self, chances: torch.Tensor, mask: Any) -> torch.Tensor:
        """What dropout left of the probabilities, again."""
        ...

    def backward(self, grads: torch.Tensor, chances: torch.Tensor, mask: Any) -> torch.Tensor:
        """Gradients of what dropout left -> gradients of the scores; may overwrite them."""
        ...


def choose_steps(example: torch.Tensor, longest: int, scale: float) -> Steps:
    """The kernels where there are any for such tensors, else torch's operators."""
    found = kernels(example.dtype, example.device.type)
    return Plain(scale) if found is None or longest > MOST_KEYS else Fused(found, scale)


class Plain:
    """By torch's operators."""

    scales_queries = True

    def __init__(self, scale: float) -> None:
        """``scale`` multiplies the queries."""
        self.scale = scale

    def lay(self, group: Group, rows: torch.Tensor, num_kv: int, *, is_flow: bool = False) -> torch.Tensor:
        """By an index; an empty slot of queries, keys and values holds some row, which nobody sees."""
        taken = rows[group.rows]
        shape = (group.num_segments, group.longest, num_kv, rows.shape[1] // num_kv, rows.shape[2])
        laid = taken.view(shape).permute(2, 0, 3, 1, 4).clone(memory_format=torch.contiguous_format).flatten(0, 1)
        if is_flow and group.real is not None:
            laid *= group.real.repeat(num_kv, 1)[:, None, :, None].to(laid.dtype)
        return laid

    def take(self, group: Group, laid: torch.Tensor, rows: torch.Tensor) -> None:
        """By an index."""
        size, width = len(laid) // group.num_segments, laid.shape[-1]
        split = laid.view(size, group.num_segments, laid.shape[1], group.longest, width).permute(1, 3, 0, 2, 4)
        if isinstance(group.rows, slice):
            rows[group.rows].view(group.num_segments, group.longest, size, laid.shape[1], width).copy_(split)
            return
        flat = split.reshape(group.num_segments * group.longest, size * laid.shape[1], width).to(rows.dtype)
        if group.real is None:
            rows[group.rows] = flat
        else:
            real = group.real.flatten()
            rows[group.rows[real]] = flat[real]

    def forward(self, scores: torch.Tensor, view: View, dropout: float) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Mask, softmax, dropout: a pass for each."""
        if view.causal:
            hidden = _hidden(view.queries, view.keys, view.offset, view.window, scores.device)
            scores.view(len(scores), -1, view.queries, view.keys).masked_fill_(hidden, float("-inf"))
        elif view.lengths is not None:
            empty = torch.arange(view.keys, device=scores.device) >= view.lengths.unsqueeze(1)
            scores.masked_fill_(empty.unsqueeze(1), float("-inf"))
        chances = torch.softmax(scores, dim=-1)
        if not dropout:
            return chances, chances, None
        mask = torch.empty_like(chances).bernoulli_(1.0 - dropout).div_(1.0 - dropout)
        return chances, chances * mask, mask

    def used(self, chances: torch.Tensor, mask: Any) -> torch.Tensor:
        """The probabilities times the mask, if any."""
        return chances if mask is None else chances * mask

    def backward(self, grads: torch.Tensor, chances: torch.Tensor, mask: Any) -> torch.Tensor:
        """Through dropout, then the softmax."""
        if mask is not None:
            grads *= mask
        found: torch.Tensor = torch.ops.aten._softmax_backward_data(grads, chances, -1, chances.dtype)
        return found


class Fused:
    """By the kernel: one pass, fp32 inside, nothing computed for keys that are not seen; the mask is drawn again when needed."""

    scales_queries = False

    def __init__(self, found: Kernels, scale: float) -> None:
        """``scale`` multiplies the scores."""
        self.kernels = found
        self.scale = scale

    def lay(self, group: Group, rows: torch.Tensor, num_kv: int, *, is_flow: bool = False) -> torch.Tensor:
        """In one pass; empty slots are zero."""
        return self.kernels.lay(rows, group.starts, group.lengths, group.longest, num_kv)

    def take(self, group: Group, laid: torch.Tensor, rows: torch.Tensor) -> None:
        """In one pass."""
        self.kernels.take(laid.to(rows.dtype), rows, group.starts, group.lengths)

    def forward(self, scores: torch.Tensor, view: View, dropout: float) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """In place."""
        mask = new_dropout(dropout)
        used = self.kernels.softmax_(
            scores,
            rows=scores.shape[1] // view.queries,
            queries=view.queries,
            lengths=view.lengths,
            offset=view.offset,
            window=(view.window or view.offset + view.queries) if view.causal else 0,
            scale=self.scale,
            dropout=mask,
        )
        return scores, used, mask

    def used(self, chances: torch.Tensor, mask: Dropout) -> torch.Tensor:
        """The same mask once more."""
        return self.kernels.drop(chances, mask) if mask.least else chances

    def backward(self, grads: torch.Tensor, chances: torch.Tensor, mask: Dropout) -> torch.Tensor:
        """In place."""
        self.kernels.softmax_back_(grads, chances, self.scale, mask)
        return grads


@lru_cache(maxsize=64)
def _hidden(num_queries: int, num_keys: int, offset: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which keys[num_keys] each query does not see; query 0 stands at key ``offset``."""
    query = torch.arange(num_queries, device=device).unsqueeze(1) + offset
    key = torch.arange(num_keys, device=device).unsqueeze(0)
    return key > query if window is None else (key > query) | (key <= query - window)
