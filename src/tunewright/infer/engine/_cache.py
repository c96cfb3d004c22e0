"""Keys and values of several rows of unequal length, for the stock forward of any attention model.

Rows end at the same column and begin where their length says; what stands before is padding, which the mask hides. Layers
with a sliding window keep all of it as well: the stock mask cuts the window out of the columns.

Shape letters: B rows, H heads, C columns that have room, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 64
"""Columns by which a full buffer grows, at least: with a quarter of its size, a copy is rare."""


class Columns(DynamicLayer):  # type: ignore[no-untyped-call] # its base registers it with an untyped hook
    """The keys and values of one layer, in buffers with room for more: a step writes a column instead of copying all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length = 0
        self._buffers: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add columns on the right; all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        states = (key_states, value_states)
        start, stop = self._length, self._length + key_states.shape[2]
        if not self._buffers:
            self._buffers = [one.contiguous() for one in states]
        elif self._buffers[0].shape[2] < stop:
            room = max(_ROOM, stop // 4)
            self._buffers = [torch.nn.functional.pad(one, (0, 0, 0, stop - start + room)) for one in self._show(start)]
        if start:
            for buffer, new in zip(self._buffers, states, strict=True):
                buffer[:, :, start:stop] = new
        return self._show(stop)

    def get_seq_length(self) -> int:
        """The number of columns."""
        return self._length

    def arrange(self, rows: torch.Tensor, columns: int) -> None:
        """Keep some rows, and of their columns the last ``columns``."""
        self._buffers = [one[rows, :, self._length - columns :] for one in self._show(self._length)]
        self._show(columns)

    def join(self, other: Columns) -> None:
        """Put the rows of another cache below these; the shorter ones get columns of zeros on the left."""
        length = max(self._length, other._length)
        pairs = zip(self._show(self._length), other._show(other._length), strict=True)
        self._buffers = [torch.cat([_padded(one, length), _padded(two, length)]) for one, two in pairs]
        self._show(length)

    def _show(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (buffer[:, :, :length] for buffer in self._buffers)
        self._length, self.keys, self.values = length, keys, values
        return keys, values


def empty_cache() -> Cache:
    """A cache without columns, which grows a layer when the model first asks for it."""
    return Cache(layer_class_to_replicate=Columns)


def _padded(states: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(states, (0, 0, length - states.shape[2], 0))
