"""Build the one batch shape from token ids, and group rows so that little is padded and memory stays bounded.

Shape letters: T tokens in the batch, N examples, S segments (here S = N), L longest segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tunewright.types import Batch, Ints, Stream


def flatten(ids: Sequence[Sequence[int]] | Sequence[Ints]) -> Stream:
    """Segments laid end to end: ids[T], positions[T] restarting at each segment, bounds[S+1]."""
    lengths = torch.tensor([len(segment) for segment in ids], dtype=torch.int64)
    bounds_S1 = torch.zeros(len(ids) + 1, dtype=torch.int64)
    bounds_S1[1:] = lengths.cumsum(0)
    ids_T = torch.from_numpy(np.concatenate([np.asarray(segment, dtype=np.int64) for segment in ids]))
    positions_T = torch.arange(int(bounds_S1[-1])) - torch.repeat_interleave(bounds_S1[:-1], lengths)
    return Stream(ids=ids_T, positions=positions_T, bounds=bounds_S1)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on ``device``."""
    if device.type == "cpu":
        return batch
    streams = {
        name: Stream(stream.ids.to(device), stream.positions.to(device), stream.bounds.to(device))
        for name, stream in batch.streams.items()
    }
    columns = {name: column.to(device) for name, column in batch.columns.items()}
    return Batch(streams, columns, batch.row_ids, batch.num_tokens)


def group_by_tokens(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Indices in the order given, cut into groups whose padded size (count x longest) stays within ``token_budget``.

    A row longer than the budget forms a group of its own.
    """
    group: list[int] = []
    longest = 0
    for index, length in enumerate(lengths):
        longest_now = max(longest, length)
        if group and longest_now * (len(group) + 1) > token_budget:
            yield group
            group, longest_now = [], length
        group.append(index)
        longest = longest_now
    if group:
        yield group
