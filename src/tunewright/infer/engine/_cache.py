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


class Columns(DynamicLayer):  # type: ignore[misc]
    """The keys and values of one layer, in buffers with room for more: a step writes a column instead of copying all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self._length = 0
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add columns on the right; all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, stop = self._length, self._length + key_states.shape[2]
        if self._buffers is None or self._buffers[0].shape[2] < stop:
            room = stop + max(_ROOM, stop // 4) if start else stop
            self._buffers = _grown(self.keys, key_states, start, room), _grown(self.values, value_states, start, room)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:stop] = states
        self._show(stop)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """The number of columns."""
        return self._length

    def arrange(self, rows: torch.Tensor, columns: int) -> None:
        """Keep some rows, and of their columns the last ``columns``."""
        keys, values = (one[rows, :, self._length - columns :] for one in (self.keys, self.values))
        self._take(keys, values)

    def join(self, other: Columns) -> None:
        """Put the rows of another cache below these; the shorter ones get columns of zeros on the left."""
        length = max(self._length, other._length)
        keys, values = (
            torch.cat([_padded(one, length), _padded(two, length)])
            for one, two in ((self.keys, other.keys), (self.values, other.values))
        )
        self._take(keys, values)

    def _take(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._buffers = keys, values
        self._show(keys.shape[2])

    def _show(self, length: int) -> None:
        assert self._buffers is not None
        self._length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def empty_cache() -> Cache:
    """A cache without columns, which grows a layer when the model first asks for it."""
    return Cache(layer_class_to_replicate=Columns)


def _grown(old: torch.Tensor, states: torch.Tensor, length: int, room: int) -> torch.Tensor:
    rows, heads, _, width = states.shape
    buffer = states.new_zeros(rows, heads, room, width)
    if length:
        buffer[:, :, :length] = old
    return buffer


def _padded(states: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(states, (0, 0, length - states.shape[2], 0))
