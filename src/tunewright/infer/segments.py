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
class Segments:
    """How the T tokens of a stream are attended to: groups that cover every segment once."""

    groups: tuple[Group, ...]
    num_tokens: int


def plan_segments(bounds: Sequence[int], device: torch.device | str = "cpu", parents: Sequence[int] = ()) -> Segments:
    """Group the segments between ``bounds[S+1]`` by length, so that little is padded; those of one parent by themselves."""
    every = list(pairwise(bounds))
    families: dict[int, list[tuple[int, int]]] = {}
    for span, parent in zip(every, parents or [-1] * len(every), strict=True):
        families.setdefault(parent, []).append(span)
    groups: list[Group] = []
    for parent, spans in families.items():
        groups += _by_length(spans, every[parent] if parent >= 0 else (0, 0), device)
    return Segments(tuple(groups), bounds[-1])


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
