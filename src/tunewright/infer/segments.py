"""How the tokens of a stream are attended to: segments of like length side by side, so that little is padded.

Shape letters: T tokens, S segments of a group, L their longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

MOST_WASTE = 1.3
"""A group may hold this many times the cells of its segments alone: one large product is worth some padding."""

FREE_WASTE = 16_384
"""And so many cells besides: a group of its own costs as much time as they do."""


@dataclass(frozen=True, slots=True)
class Group:
    """Segments of like length: ``starts[S]`` in the stream and ``lengths[S]``.

    The same as rows[S * L] of the stream (0 in empty slots), and which slots[S, L] are real; None: all. Where the segments go
    on from one ``parent``, that is where its tokens begin and end.
    """

    starts: torch.Tensor
    lengths: torch.Tensor
    num_segments: int
    longest: int
    rows: torch.Tensor | slice
    real: torch.Tensor | None
    parent: tuple[int, int] = (0, 0)

    @property
    def before(self) -> slice:
        """The parent's tokens in the stream."""
        return slice(*self.parent)

    @property
    def num_before(self) -> int:
        """Keys that every segment sees before its own."""
        return self.parent[1] - self.parent[0]


@dataclass(frozen=True, slots=True)
class Short:
    """Segments that see few keys, as a table for the kernels: spans[S, 6] and what flows back to parents.

    A span: where its tokens begin and how many there are, the same of its parent, which row of what flows back to parents is its
    first, and which random number, were there one head. ``longest`` counts keys; of each parent, ``families`` has the tokens and
    the first of those rows for each of its children.
    """

    spans: torch.Tensor
    longest: int
    spilled: int
    families: tuple[tuple[slice, tuple[int, ...]], ...]


class Segments:
    """How the tokens of a stream are attended to: spans that lie end to end, and the span that each goes on from, if any."""

    def __init__(self, spans: Sequence[tuple[int, int]], parents: Sequence[int], device: torch.device | str) -> None:
        """``parents[S]`` are numbers of spans, -1 for none."""
        self.spans = spans
        self.parents = parents
        self.device = device
        self._groups: dict[int, tuple[Group, ...]] = {}
        self._short: dict[int, Short | None] = {}

    def groups(self, above: int = 0) -> tuple[Group, ...]:
        """Those that see more than ``above`` keys, by length, so that little is padded; those of one parent by themselves."""
        if above not in self._groups:
            families: dict[int, list[tuple[int, int]]] = {}
            for span, parent in zip(self.spans, self.parents, strict=True):
                if self._num_keys(span, parent) > above:
                    families.setdefault(parent, []).append(span)
            found: list[Group] = []
            for parent, spans in families.items():
                found += _by_length(spans, self._parent(parent), self.device)
            self._groups[above] = tuple(found)
        return self._groups[above]

    def short(self, most: int) -> Short | None:
        """Those that see at most so many keys; None if there are none."""
        if most not in self._short:
            self._short[most] = self._table(most)
        return self._short[most]

    def _table(self, most: int) -> Short | None:
        lines, longest, spilled, place = [], 0, 0, 0
        families: dict[int, list[int]] = {}
        for span, parent in zip(self.spans, self.parents, strict=True):
            keys = self._num_keys(span, parent)
            if keys > most:
                continue
            start, length, (first, end) = span[0], span[1] - span[0], self._parent(parent)
            lines.append((start, length, first, end - first, spilled, place))
            if parent >= 0:
                families.setdefault(parent, []).append(spilled)
            longest, spilled, place = max(longest, keys), spilled + end - first, place + length * keys
        shared = tuple((slice(*self.spans[parent]), tuple(rows)) for parent, rows in families.items())
        return Short(torch.tensor(lines), longest, spilled, shared) if lines else None

    def _num_keys(self, span: tuple[int, int], parent: int) -> int:
        first, end = self._parent(parent)
        return span[1] - span[0] + end - first

    def _parent(self, parent: int) -> tuple[int, int]:
        return self.spans[parent] if parent >= 0 else (0, 0)


def plan_segments(bounds: Sequence[int], device: torch.device | str = "cpu", parents: Sequence[int] = ()) -> Segments:
    """The segments between ``bounds[S+1]``, and the parent of each, -1 for none; no parents: none has one."""
    spans = list(pairwise(bounds))
    return Segments(spans, parents or [-1] * len(spans), device)


def _by_length(
    spans: Sequence[tuple[int, int]], parent: tuple[int, int], device: torch.device | str
) -> Iterator[Group]:
    spans = sorted(spans, key=lambda span: span[0] - span[1])  # the longest first, the order kept otherwise
    shared = parent[1] - parent[0]
    start = 0
    while start < len(spans):
        longest = spans[start][1] - spans[start][0]
        end, cells = start, 0
        while end < len(spans):
            length = spans[end][1] - spans[end][0]
            new = length * (shared + length)
            if longest * (shared + longest) * (end + 1 - start) > MOST_WASTE * (cells + new) + FREE_WASTE:
                break
            cells += new
            end += 1
        yield replace(_group(spans[start:end], longest, device), parent=parent)
        start = end


def _group(spans: Sequence[tuple[int, int]], longest: int, device: torch.device | str) -> Group:
    size = len(spans)
    is_whole = all(stop - start == longest for start, stop in spans)
    starts = torch.tensor([start for start, _ in spans], device=device)
    lengths = torch.tensor([stop - start for start, stop in spans], device=device)
    if is_whole and all(one[1] == two[0] for one, two in pairwise(spans)):
        return Group(starts, lengths, size, longest, slice(spans[0][0], spans[-1][1]), None)
    slots = torch.arange(longest, device=device)
    real = slots.unsqueeze(0) < lengths.unsqueeze(1)
    rows = torch.where(real, starts.unsqueeze(1) + slots, 0)
    return Group(starts, lengths, size, longest, rows.flatten(), None if is_whole else real)
