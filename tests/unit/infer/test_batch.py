"""Segments end to end, and groups that stay within a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunewright.infer.batch import flatten, group_by_tokens, to_device
from tunewright.types import Batch


def test_segments_lie_end_to_end_with_positions_and_bounds() -> None:
    stream = flatten([[7, 8, 9], [5], [4, 4]])
    assert stream.ids.tolist() == [7, 8, 9, 5, 4, 4]
    assert stream.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert stream.bounds.tolist() == [0, 3, 4, 6]
    assert stream.ids.dtype == stream.positions.dtype == stream.bounds.dtype == torch.int64


def test_arrays_of_any_integer_type_are_taken() -> None:
    rows: list[Any] = [np.array([1, 2], dtype=np.int32)]
    assert flatten(rows).ids.dtype == torch.int64


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 120), st.booleans())
def test_groups_keep_order_and_budget_and_are_as_large_as_they_can_be(
    lengths: list[int], budget: int, pads: bool
) -> None:
    groups = list(group_by_tokens(lengths, budget, pads=pads))
    assert [index for group in groups for index in group] == list(range(len(lengths)))

    def size(group: list[int]) -> int:
        found = [lengths[index] for index in group]
        return len(found) * max(found) if pads else sum(found)

    for number, group in enumerate(groups):
        assert len(group) == 1 or size(group) <= budget
        if number + 1 < len(groups):
            assert size([*group, groups[number + 1][0]]) > budget


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_batch_moves_as_a_whole(device: str) -> None:
    batch = Batch({"source": flatten([[1, 2]])}, {"target": torch.zeros(1, 1)}, (4,), 2)
    moved = to_device(batch, torch.device(device))
    tensors = [*moved.columns.values()]
    for stream in moved.streams.values():
        tensors += [stream.ids, stream.positions, stream.bounds]
    assert {tensor.device.type for tensor in tensors} == {device}
    assert (moved.row_ids, moved.num_tokens) == ((4,), 2)
