"""Attention over segments that lie end to end: no token sees another segment, and none is padded beyond its neighbours.

softmax(Q K' / sqrt(D)) V (Vaswani et al. 2017, section 3.2.1), with fewer heads of keys than of queries where the model has
them, causal or not, within a window or not. Segments of like length are laid side by side as one batched product; a long
causal one is cut into blocks of queries, each of which reads only the keys that it may see. Products are taken in the
dtype of the inputs, the softmax with fp32 inside. The probabilities are kept for the backward pass while they are small, and
made again where they are not.

Shape letters: T tokens, S segments of a group, L their longest, H heads of queries, G of keys, R = H / G, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

BLOCK = 256
"""Queries of one causal block: what lies above the diagonal costs at most half a block per query."""

MOST_WASTE = 1.3
"""A group may hold this many times the cells of its segments alone: one large product is worth some padding."""

MOST_KEPT = 1024
"""Segments up to this length keep their probabilities: 2 MB to a head in bf16. Longer ones make them again."""


@dataclass(frozen=True, slots=True)
class Group:
    """Segments of like length: rows[S * L] of the stream (0 in empty slots), and which slots[S, L] are real; None: all."""

    rows: torch.Tensor | slice
    num_segments: int
    longest: int
    real: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Segments:
    """How the T tokens of a stream are attended to: groups that cover every segment once."""

    groups: tuple[Group, ...]
    num_tokens: int


def plan_segments(bounds: Sequence[int], device: torch.device | str = "cpu") -> Segments:
    """Group the segments between ``bounds[S+1]`` by length, so that little is padded."""
    spans = sorted(pairwise(bounds), key=lambda span: span[0] - span[1])  # the longest first, the order kept otherwise
    groups = []
    start = 0
    while start < len(spans):
        longest = spans[start][1] - spans[start][0]
        end, cells = start, 0
        while end < len(spans):
            length = spans[end][1] - spans[end][0]
            if longest * longest * (end + 1 - start) > MOST_WASTE * (cells + length * length):
                break
            cells += length * length
            end += 1
        groups.append(_group(spans[start:end], longest, device))
        start = end
    return Segments(tuple(groups), bounds[-1])


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    segments: Segments,
    *,
    scale: float,
    causal: bool,
    window: int | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """What the queries[T, H, D] read of keys[T, G, D] and values[T, G, D] in their own segments: [T, H, D].

    ``window`` is how many tokens a query sees, itself included (only with ``causal``); ``dropout`` is that of the probabilities.
    """
    options = _Options(scale, causal, window, dropout)
    read: torch.Tensor = _Attention.apply(queries, keys, values, segments, options)  # type: ignore[no-untyped-call]
    return read


@dataclass(frozen=True, slots=True)
class _Options:
    scale: float
    causal: bool
    window: int | None
    dropout: float


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries ``start`` to ``stop`` of a group, and the first key that any of them sees; keys go up to ``last``."""

    start: int
    stop: int
    first: int
    last: int


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, segments: Segments, options: _Options
    ) -> torch.Tensor:
        read = torch.empty_like(queries, memory_format=torch.contiguous_format)
        wants = any(ctx.needs_input_grad[:3])
        kept: list[torch.Tensor] = []
        with torch.autocast(queries.device.type, enabled=False):
            for group in segments.groups:
                q, k, v = _laid_out(group, queries, keys, values, options)
                found = torch.empty_like(q)
                for block in _blocks(group.longest, options):
                    chances = _probabilities(group, q, k, block, options)
                    used, chosen = _dropped(chances, options.dropout)
                    piece = torch.bmm(used, v[:, block.first : block.last])
                    found[:, :, block.start : block.stop] = piece.view(
                        len(piece), q.shape[1], block.stop - block.start, -1
                    )
                    if wants and _keeps(group, options):
                        kept += [chances] if chosen is None else [chances, chosen]
                _take_back(group, found, read)
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.segments, ctx.options = segments, options
        return read

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        queries, keys, values, *kept = ctx.saved_tensors
        segments, options = ctx.segments, ctx.options
        made = iter(kept)
        grad_q, grad_k, grad_v = (
            torch.empty_like(each, memory_format=torch.contiguous_format) for each in (queries, keys, values)
        )
        with torch.autocast(queries.device.type, enabled=False):
            for group in segments.groups:
                laid = _laid_out(group, queries, keys, values, options)
                flow = _lay(group, grads[0], values.shape[1])
                if group.real is not None:
                    flow = flow * _real_rows(group, len(flow)).to(flow.dtype)
                found = _group_gradients(group, laid, flow, made, options)
                for gradient, target in zip(found, (grad_q, grad_k, grad_v), strict=True):
                    _take_back(group, gradient, target)
        return grad_q, grad_k, grad_v, None, None


def _group_gradients(
    group: Group,
    laid: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    flow: torch.Tensor,
    kept: Iterator[torch.Tensor],
    options: _Options,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of a group's queries[B, R, L, D], keys[B, L, D] and values[B, L, D], all [B, R or 1, L, D]."""
    q, k, v = laid
    blocks = list(_blocks(group.longest, options))
    wide = torch.promote_types(k.dtype, torch.float32) if len(blocks) > 1 else k.dtype  # blocks add up to a key's
    grad_q = torch.empty_like(q)
    grad_k, grad_v = (torch.zeros(each.shape, dtype=wide, device=each.device) for each in (k, v))
    for block in blocks:
        if _keeps(group, options):
            chances = next(kept)
            chosen = next(kept) if options.dropout else None
        else:
            chances, chosen = _probabilities(group, q, k, block, options), None
        used = chances if chosen is None else chances * chosen
        keys_seen = slice(block.first, block.last)
        flow_block = flow[:, :, block.start : block.stop].reshape(len(flow), -1, flow.shape[-1])
        q_block = q[:, :, block.start : block.stop].reshape(len(q), -1, q.shape[-1])
        grad_v[:, keys_seen] += torch.bmm(used.transpose(1, 2), flow_block)
        grad_chances = torch.bmm(flow_block, v[:, keys_seen].transpose(1, 2))
        if chosen is not None:
            grad_chances *= chosen
        grad_scores = torch.ops.aten._softmax_backward_data(grad_chances, chances, -1, chances.dtype)
        grad_piece = torch.bmm(grad_scores, k[:, keys_seen])
        grad_q[:, :, block.start : block.stop] = grad_piece.view(len(q), q.shape[1], block.stop - block.start, -1)
        grad_k[:, keys_seen] += torch.bmm(grad_scores.transpose(1, 2), q_block)
    return grad_q.mul_(options.scale), grad_k.unsqueeze(1), grad_v.unsqueeze(1)


def _keeps(group: Group, options: _Options) -> bool:
    return group.longest <= MOST_KEPT or bool(options.dropout)


def _blocks(longest: int, options: _Options) -> Iterator[_Block]:
    if not options.causal:
        yield _Block(0, longest, 0, longest)
        return
    for start in range(0, longest, BLOCK):
        stop = min(start + BLOCK, longest)
        first = 0 if options.window is None else max(0, start + 1 - options.window)
        yield _Block(start, stop, first, stop)


def _probabilities(group: Group, q: torch.Tensor, k: torch.Tensor, block: _Block, options: _Options) -> torch.Tensor:
    """softmax of the scores of a block: [B, R * queries, keys]; the queries are scaled already."""
    num_queries = block.stop - block.start
    scores = torch.bmm(
        q[:, :, block.start : block.stop].reshape(len(q), -1, q.shape[-1]),
        k[:, block.first : block.last].transpose(1, 2),
    )
    if options.causal:
        hidden = _hidden(num_queries, block.last - block.first, block.start - block.first, options.window, q.device)
        scores.view(len(q), -1, num_queries, block.last - block.first).masked_fill_(hidden, float("-inf"))
    elif group.real is not None:
        empty = ~group.real.repeat(len(q) // group.num_segments, 1)
        scores.masked_fill_(empty.unsqueeze(1), float("-inf"))
    return torch.softmax(scores, dim=-1)


def _dropped(chances: torch.Tensor, dropout: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The probabilities after dropout, and the factor of each: 0 or 1 / (1 - dropout)."""
    if not dropout:
        return chances, None
    chosen = torch.empty_like(chances).bernoulli_(1.0 - dropout).div_(1.0 - dropout)
    return chances * chosen, chosen


@lru_cache(maxsize=64)
def _hidden(num_queries: int, num_keys: int, offset: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which keys[num_keys] each query does not see; query 0 stands at key ``offset``."""
    query = torch.arange(num_queries, device=device).unsqueeze(1) + offset
    key = torch.arange(num_keys, device=device).unsqueeze(0)
    return key > query if window is None else (key > query) | (key <= query - window)


def _laid_out(
    group: Group, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: _Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scaled queries[B, R, L, D], keys[B, L, D] and values[B, L, D] of a group, B = G * S; all of them contiguous."""
    num_kv = keys.shape[1]
    q = _lay(group, queries, num_kv).mul_(options.scale)
    return q, _lay(group, keys, num_kv)[:, 0], _lay(group, values, num_kv)[:, 0]


def _lay(group: Group, rows: torch.Tensor, num_kv: int) -> torch.Tensor:
    """rows[T, H, D] of a group as a copy [G * S, H / G, L, D]."""
    taken = rows[group.rows]
    shape = (group.num_segments, group.longest, num_kv, rows.shape[1] // num_kv, rows.shape[2])
    return taken.view(shape).permute(2, 0, 3, 1, 4).clone(memory_format=torch.contiguous_format).flatten(0, 1)


def _take_back(group: Group, laid: torch.Tensor, rows: torch.Tensor) -> None:
    """Write [G * S, R, L, D] into the group's rows of [T, H, D]."""
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


def _real_rows(group: Group, size: int) -> torch.Tensor:
    assert group.real is not None
    return group.real.repeat(size // group.num_segments, 1)[:, None, :, None]


def _group(spans: Sequence[tuple[int, int]], longest: int, device: torch.device | str) -> Group:
    size = len(spans)
    is_whole = all(stop - start == longest for start, stop in spans)
    if is_whole and all(one[1] == two[0] for one, two in pairwise(spans)):
        return Group(slice(spans[0][0], spans[-1][1]), size, longest, None)
    starts = torch.tensor([start for start, _ in spans], device=device)
    lengths = torch.tensor([stop - start for start, stop in spans], device=device)
    slots = torch.arange(longest, device=device)
    real = slots.unsqueeze(0) < lengths.unsqueeze(1)
    rows = torch.where(real, starts.unsqueeze(1) + slots, 0)
    return Group(rows.flatten(), size, longest, None if is_whole else real)
