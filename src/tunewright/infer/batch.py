"""Build the one batch shape from token ids, and group rows so that little is padded and memory stays bounded.

Shape letters: T tokens in the batch, N examples, S segments (here S = N), L longest segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from tunewright.infer.prefixes import find_prefixes
from tunewright.types import Batch, Ints, Stream


def flatten(ids: Sequence[Sequence[int]] | Sequence[Ints]) -> Stream:
    """Segments laid end to end: ids[T], positions[T] restarting at each segment, bounds[S+1]."""
    lengths = torch.tensor([len(segment) for segment in ids], dtype=torch.int64)
    bounds_S1 = torch.zeros(len(ids) + 1, dtype=torch.int64)
    bounds_S1[1:] = lengths.cumsum(0)
    ids_T = torch.from_numpy(np.concatenate([np.asarray(segment, dtype=np.int64) for segment in ids]))
    positions_T = torch.arange(int(bounds_S1[-1])) - torch.repeat_interleave(bounds_S1[:-1], lengths)
    return Stream(ids=ids_T, positions=positions_T, bounds=bounds_S1)


def flatten_shared(ids: Sequence[Ints], weights: Sequence[torch.Tensor]) -> tuple[Stream, torch.Tensor]:
    """As ``flatten``, with what rows begin with alike laid down once; and the weights[T] of tokens, summed over rows."""
    prefixes = find_prefixes(ids)
    owner = {row: number for number, prefix in enumerate(prefixes) for row in prefix.rows}
    starts = [prefixes[owner[row]].length if row in owner else 0 for row in range(len(ids))]
    shared = [ids[prefix.rows[0]][: prefix.length] for prefix in prefixes]
    summed = [torch.stack([weights[row][: prefix.length] for row in prefix.rows]).sum(0) for prefix in prefixes]
    stream = flatten([*shared, *(row[start:] for row, start in zip(ids, starts, strict=True))])
    lengths = stream.bounds[1:] - stream.bounds[:-1]
    before = torch.repeat_interleave(torch.tensor([*[0] * len(prefixes), *starts]), lengths)
    parents = (*[-1] * len(prefixes), *(owner.get(row, -1) for row in range(len(ids)))) if prefixes else ()
    rest = [each[start:] for each, start in zip(weights, starts, strict=True)]
    return replace(stream, positions=stream.positions + before, parents=parents), torch.cat([*summed, *rest])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on ``device``."""
    if device.type == "cpu":
        return batch
    streams = {
        name: replace(
            stream, ids=stream.ids.to(device), positions=stream.positions.to(device), bounds=stream.bounds.to(device)
        )
        for name, stream in batch.streams.items()
    }
    columns = {name: column.to(device) for name, column in batch.columns.items()}
    return Batch(streams, columns, batch.row_ids, batch.num_tokens)


def group_by_tokens(lengths: Sequence[int], token_budget: int, *, pads: bool = True) -> Iterator[list[int]]:
    """Indices in the order given, cut into groups whose size stays within ``token_budget``.

    The size is that of a rectangle (count x longest), or the tokens alone where nothing ``pads``. A row longer than the budget
    forms a group of its own.
    """
    group: list[int] = []
    longest = total = 0
    for index, length in enumerate(lengths):
        longest, total = max(longest, length), total + length
        if group and (longest * (len(group) + 1) if pads else total) > token_budget:
            yield group
            group, longest, total = [], length, length
        group.append(index)
    if group:
        yield group
