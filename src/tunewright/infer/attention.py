"""Attention over segments that lie end to end: no token sees another segment, and none is padded beyond its neighbours.

softmax(Q K' / sqrt(D)) V (Vaswani et al. 2017, section 3.2.1), with fewer heads of keys than of queries where the model has
them, causal or not, within a window or not. Segments of like length are laid side by side as one batched product; a long
causal one is cut into blocks of queries, each of which reads only the keys that it may see. Products are taken in the
dtype of the inputs, the softmax with fp32 inside. The probabilities are kept for the backward pass while they are small, and
made again where they are not.

Where segments go on from a shared prefix, its keys and values stand before their own, and what flows back to them is summed.

Shape letters: T tokens, S segments of a group, L their longest, H heads of queries, G of keys, R = H / G, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tunewright.infer.attention_short import KeptShort, add_to_parents, grade_short, read_short
from tunewright.infer.attention_steps import Steps, View, choose_steps
from tunewright.infer.native.functions import Kernels, Rows, kernels
from tunewright.infer.segments import Group, Segments

BLOCK = 256
"""Queries of one causal block: what lies above the diagonal costs at most half a block per query."""

SHORT = 256
"""Segments that see at most so many keys are read by one kernel, where there is one."""

EVERY = 1 << 40
"""A window that nothing reaches."""

MOST_KEPT = 1024
"""Segments up to this length keep their probabilities: 2 MB to a head in bf16. Longer ones make them again."""


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
class Heads:
    """How many heads of queries and of keys stand in a row, and their width."""

    queries: int
    keys: int
    width: int

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries[T, H, D], keys[T, G, D] and values[T, G, D] as views of rows[T, (H + 2 G) D]."""
        parts = torch.split(rows.view(len(rows), -1, self.width), [self.queries, self.keys, self.keys], dim=1)
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True, slots=True)
class Turns:
    """Rotary positions (Su et al. 2021, equation 34): cosines and sines[T, D / 2] in fp32 of each token's angles."""

    kernels: Kernels
    cosines: torch.Tensor
    sines: torch.Tensor

    def turn(self, rows: torch.Tensor, heads: Heads, sign: float) -> None:
        """Turn the queries and keys of joined rows in place; ``sign`` -1 turns them back."""
        self.kernels.rotate_(rows, heads.queries + heads.keys, heads.width, self.cosines, self.sines, sign)


def attend_joined(
    rows: torch.Tensor,
    heads: Heads,
    turns: Turns | None,
    segments: Segments,
    *,
    scale: float,
    causal: bool,
    window: int | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """``attend`` for rows[T, (H + 2 G) D] of queries, keys and values, which it turns in place: [T, H D]."""
    options = _Options(scale, causal, window, dropout)
    read: torch.Tensor = _JoinedAttention.apply(rows, heads, turns, segments, options)  # type: ignore[no-untyped-call]
    return read.flatten(1)


@dataclass(frozen=True, slots=True)
class _Options:
    scale: float
    causal: bool
    window: int | None
    dropout: float

    @property
    def most_seen(self) -> int:
        """Keys that a query sees at most, up to its own; 0: all, on both sides."""
        return (self.window or EVERY) if self.causal else 0


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries ``start`` to ``stop`` of a group, and the first key that any of them sees, a parent's counted; up to ``last``."""

    start: int
    stop: int
    first: int
    last: int


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, segments: Segments, options: _Options
    ) -> torch.Tensor:
        rows = queries, keys, values
        read, kept = read_segments(rows, segments, options, keeps=any(ctx.needs_input_grad[:3]))
        ctx.like = [(each.shape, each.dtype) for each in rows]
        ctx.segments, ctx.options, ctx.kept = segments, options, kept
        return read

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        q, k, v = (torch.empty(shape, dtype=dtype, device=grads[0].device) for shape, dtype in ctx.like)
        grade_segments(ctx.kept, grads[0], (q, k, v), ctx.segments, ctx.options)
        return q, k, v, None, None


class _JoinedAttention(torch.autograd.Function):
    """The same on queries, keys and values that lie side by side in rows[T, (H + 2 G) D], turned by their positions first."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, heads: Heads, turns: Turns | None, segments: Segments, options: _Options
    ) -> torch.Tensor:
        if turns is not None:
            turns.turn(rows, heads, 1.0)
        read, kept = read_segments(heads.split(rows), segments, options, keeps=ctx.needs_input_grad[0])
        ctx.shape = rows.shape
        ctx.heads, ctx.turns, ctx.segments, ctx.options, ctx.kept = heads, turns, segments, options, kept
        return read

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        found = grads[0].new_empty(ctx.shape)
        grade_segments(ctx.kept, grads[0], ctx.heads.split(found), ctx.segments, ctx.options)
        if ctx.turns is not None:
            ctx.turns.turn(found, ctx.heads, -1.0)
        return found, None, None, None, None


Laid = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries[B, R, L, D], keys[B, P + L, D] and values[B, P + L, D] of a group, B = G * S, behind P of a parent; contiguous."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the backward pass needs of a group: what was laid out, and of each block that keeps them probabilities and mask."""

    laid: Laid
    blocks: list[tuple[torch.Tensor, Any]]


@dataclass(frozen=True, slots=True)
class KeptSegments:
    """The same of all segments: of the short ones, where a kernel reads them, and of each group of the others."""

    short: KeptShort | None
    groups: list[Kept]
    above: int
    """The keys that segments of groups see at least, but one."""


def read_segments(
    rows: Rows, segments: Segments, options: _Options, *, keeps: bool
) -> tuple[torch.Tensor, KeptSegments]:
    """What queries[T, H, D] read of keys[T, G, D] and values[T, G, D]: [T, H, D]; and what ``grade_segments`` needs."""
    read = rows[0].new_empty(rows[0].shape)
    native = kernels(read.dtype, read.device.type)
    above = 0 if native is None else SHORT
    table, short = segments.short(above), None
    if native is not None and table is not None:
        short = read_short(
            native, rows, read, table, scale=options.scale, window=options.most_seen, dropout=options.dropout
        )
    kept = KeptSegments(short, [], above)
    with torch.autocast(read.device.type, enabled=False):
        for group in segments.groups(above):
            found = _read_group(group, rows, read, options, keeps=keeps)
            if keeps:
                kept.groups.append(found)
    return read, kept


def _read_group(group: Group, rows: Rows, read: torch.Tensor, options: _Options, *, keeps: bool) -> Kept:
    steps = choose_steps(read, group.num_before + group.longest, options.scale)
    q, k, v = laid = _laid_out(group, rows, steps)
    found, blocks = torch.empty_like(q), []
    for block in _blocks(group, options):
        chances, used, mask = steps.forward(_scores(q, k, block), _view(group, k, block, options), options.dropout)
        piece = torch.bmm(used, v[:, block.first : block.last])
        found[:, :, block.start : block.stop] = piece.view(len(piece), q.shape[1], block.stop - block.start, -1)
        if keeps and _keeps(group, options):
            blocks.append((chances, mask))
    steps.take(group, found, read)
    return Kept(laid, blocks)


def grade_segments(
    kept: KeptSegments, flow: torch.Tensor, targets: Rows, segments: Segments, options: _Options
) -> None:
    """Write the gradients of queries, keys and values into ``targets``, given that of what was read."""
    num_kv = targets[1].shape[1]
    shared: list[tuple[Group, Laid]] = []
    spill = None
    if kept.short is not None:
        spill = grade_short(kept.short, flow, targets, scale=options.scale, window=options.most_seen)
    with torch.autocast(flow.device.type, enabled=False):
        for group, each in zip(segments.groups(kept.above), kept.groups, strict=True):
            steps = choose_steps(flow, group.num_before + group.longest, options.scale)
            found = _group_gradients(group, each, steps.lay(group, flow, num_kv, is_flow=True), options, steps)
            own = found[0], *(each[:, :, group.num_before :] for each in found[1:])
            for gradient, target in zip(own, targets, strict=True):
                steps.take(group, gradient, target)
            if group.num_before:
                shared.append((group, found))
    for group, found in shared:  # a parent's own gradients are written by now
        for gradient, target in zip(found[1:], targets[1:], strict=True):
            part = gradient[:, 0, : group.num_before].reshape(num_kv, group.num_segments, group.num_before, -1)
            wide = torch.promote_types(part.dtype, torch.float32)
            target[group.before] += part.sum(dim=1, dtype=wide).transpose(0, 1).to(target.dtype)
    if kept.short is not None and spill is not None:
        add_to_parents(kept.short.short, spill, targets)


def _group_gradients(group: Group, kept: Kept, flow: torch.Tensor, options: _Options, steps: Steps) -> Laid:
    """Gradients of a group's queries[B, R, L, D], keys[B, L, D] and values[B, L, D], all [B, R or 1, L, D]."""
    q, k, v = kept.laid
    blocks, made = list(_blocks(group, options)), iter(kept.blocks)
    grad_q = torch.empty_like(q)
    is_one = len(blocks) == 1 and blocks[0].first == 0
    grad_k, grad_v = _Sum(k, is_one=is_one), _Sum(v, is_one=is_one)
    for block in blocks:
        if _keeps(group, options):
            chances, mask = next(made)
        else:
            chances, _, mask = steps.forward(_scores(q, k, block), _view(group, k, block, options), 0.0)
        keys_seen = slice(block.first, block.last)
        flow_block = flow[:, :, block.start : block.stop].reshape(len(flow), -1, flow.shape[-1])
        q_block = q[:, :, block.start : block.stop].reshape(len(q), -1, q.shape[-1])
        grad_v.add(keys_seen, torch.bmm(steps.used(chances, mask).transpose(1, 2), flow_block))
        grad_chances = torch.bmm(flow_block, v[:, keys_seen].transpose(1, 2))
        grad_scores = steps.backward(grad_chances, chances, mask)
        grad_piece = torch.bmm(grad_scores, k[:, keys_seen])
        grad_q[:, :, block.start : block.stop] = grad_piece.view(len(q), q.shape[1], block.stop - block.start, -1)
        grad_k.add(keys_seen, torch.bmm(grad_scores.transpose(1, 2), q_block))
    if steps.scales_queries:
        grad_q.mul_(options.scale)
    return grad_q, grad_k.total.unsqueeze(1), grad_v.total.unsqueeze(1)


class _Sum:
    """What several blocks add to the gradient of keys or values; added in fp32, or taken as it is where one sees all keys."""

    def __init__(self, like: torch.Tensor, *, is_one: bool) -> None:
        self.total = like
        self.is_one = is_one
        if not self.is_one:
            wide = torch.promote_types(like.dtype, torch.float32)
            self.total = torch.zeros(like.shape, dtype=wide, device=like.device)

    def add(self, keys: slice, piece: torch.Tensor) -> None:
        if self.is_one:
            self.total = piece
        else:
            self.total[:, keys] += piece


def _keeps(group: Group, options: _Options) -> bool:
    return group.num_before + group.longest <= MOST_KEPT or bool(options.dropout)


def _blocks(group: Group, options: _Options) -> Iterator[_Block]:
    longest, before = group.longest, group.num_before
    if not options.causal:
        assert not before, "only a causal model reads a prefix once"
        yield _Block(0, longest, 0, longest)
        return
    for start in range(0, longest, BLOCK):
        stop = min(start + BLOCK, longest)
        first = 0 if options.window is None else max(0, before + start + 1 - options.window)
        yield _Block(start, stop, first, before + stop)


def _scores(q: torch.Tensor, k: torch.Tensor, block: _Block) -> torch.Tensor:
    """The products of a block: [B, R * queries, keys]."""
    queries = q[:, :, block.start : block.stop].reshape(len(q), -1, q.shape[-1])
    return torch.bmm(queries, k[:, block.first : block.last].transpose(1, 2))


def _view(group: Group, k: torch.Tensor, block: _Block, options: _Options) -> View:
    lengths = None
    if not options.causal and group.real is not None:
        lengths = group.lengths.repeat(len(k) // group.num_segments)
    return View(
        block.stop - block.start,
        block.last - block.first,
        group.num_before + block.start - block.first,
        options.causal,
        options.window,
        lengths,
    )


def _laid_out(group: Group, rows: Rows, steps: Steps) -> Laid:
    num_kv = rows[1].shape[1]
    q, k, v = (steps.lay(group, each, num_kv) for each in rows)
    if steps.scales_queries:
        q.mul_(steps.scale)
    if group.num_before:
        keys, values = (_with_prefix(group, each, laid[:, 0]) for each, laid in ((rows[1], k), (rows[2], v)))
        return q, keys, values
    return q, k[:, 0], v[:, 0]


def _with_prefix(group: Group, rows: torch.Tensor, laid: torch.Tensor) -> torch.Tensor:
    """The parent's rows[T, G, D] before each segment of [G * S, L, D]."""
    shared = rows[group.before].transpose(0, 1).unsqueeze(1)
    shared = shared.expand(-1, group.num_segments, -1, -1).flatten(0, 1)
    return torch.cat([shared, laid], dim=1)
