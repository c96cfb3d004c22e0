"""Which rows form which step: a pure function of (seed, epoch), so that resuming needs two integers and no stored state.

Each epoch is a fresh permutation. Its remainder, drawn by chance and not by length, is the last and smaller batch. Within
windows of ``WINDOW`` batches rows are sorted by length, cut into batches, and the batches shuffled: little padding, while
every row is as likely in one step as in another. A batch is cut into micro-batches that fit the token budget; the loss is
normalised over the whole batch, so that the cut changes nothing but memory (and which row gets which dropout).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from tunewright.infer.batch import flatten, group_by_tokens
from tunewright.types import Batch, Encoded, Ints

WINDOW = 32
"""Batches in a sorting window: padding falls to a few percent already at 16, and 32 keeps 1,000 rows in one window."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of one split in memory: token ids per row, targets[N, K], and the rows' ids."""

    ids: Sequence[Ints]
    targets: torch.Tensor
    row_ids: Ints

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.row_ids)

    def take(self, rows: Ints) -> Examples:
        """Some of the rows, in the order given."""
        return Examples([self.ids[row] for row in rows], self.targets[torch.from_numpy(rows)], self.row_ids[rows])


def read_examples(encoded: Encoded, split: str, remap: Ints | None = None) -> Examples:
    """One split of an encoding; ``remap[V]`` translates token ids where the embedding was compacted."""
    table = encoded.table(split)
    source = table["source"].combine_chunks()
    bounds = source.offsets.to_numpy()
    flat = source.values.to_numpy().astype(np.int64)
    if remap is not None:
        flat = remap[flat]
        assert flat.min(initial=0) >= 0, "a token that the compacted embedding has dropped"
    target = table["target"].combine_chunks()
    width = len(target.values) // max(1, len(target))
    targets = torch.from_numpy(np.array(target.values.to_numpy(), dtype=np.float32)).view(-1, max(1, width))
    return Examples([flat[start:end] for start, end in pairwise(bounds)], targets, table["id"].to_numpy())


class Batches:
    """The batches of every epoch."""

    def __init__(self, examples: Examples, *, batch_size: int, token_budget: int, seed: int) -> None:
        """``batch_size`` in rows per update, ``token_budget`` in padded tokens per micro-batch."""
        self.examples = examples
        self.batch_size = batch_size
        self.token_budget = token_budget
        self.seed = seed
        self._lengths = np.array([len(ids) for ids in examples.ids], dtype=np.int64)
        self._epoch: tuple[int, list[Ints]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one epoch; the last one may hold fewer rows."""
        return -(-len(self.examples) // self.batch_size)

    def rows(self, step: int) -> Ints:
        """The rows of update ``step`` (0-based, counted over all epochs)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._plan(epoch))
        return self._epoch[1][position]

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """The update's rows as micro-batches within the token budget, longest first."""
        rows = self.rows(step)
        rows = rows[np.argsort(-self._lengths[rows], kind="stable")]
        for group in group_by_tokens([int(length) for length in self._lengths[rows]], self.token_budget):
            yield self._batch(rows[group])

    def columns(self, step: int) -> Mapping[str, torch.Tensor]:
        """The typed columns of all the update's rows, for the normalising count."""
        return {"target": self.examples.targets[torch.from_numpy(self.rows(step))]}

    def _batch(self, rows: Ints) -> Batch:
        stream = flatten([self.examples.ids[row] for row in rows])
        columns = {"target": self.examples.targets[torch.from_numpy(rows)]}
        ids = tuple(int(row) for row in self.examples.row_ids[rows])
        return Batch({"source": stream}, columns, ids, len(stream.ids))

    def _plan(self, epoch: int) -> list[Ints]:
        """The rows of each batch of ``epoch``, in order."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.examples))
        num_whole = len(order) // self.batch_size
        whole, rest = np.split(order, [num_whole * self.batch_size])
        batches: list[Ints] = []
        for start in range(0, len(whole), WINDOW * self.batch_size):
            rows = whole[start : start + WINDOW * self.batch_size]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches.extend(rows.reshape(-1, self.batch_size))
        shuffled = [batches[index] for index in random.permutation(num_whole)]
        return [*shuffled, rest] if len(rest) else shuffled
