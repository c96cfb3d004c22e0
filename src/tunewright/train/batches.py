"""Which rows form which step: a pure function of (seed, epoch), so that resuming needs two integers and no stored state.

Each epoch is a fresh permutation, cut into batches; its remainder is the last and smaller one. Where a model reads padded
rectangles, rows are sorted by length within windows of ``WINDOW`` batches and the batches shuffled: little padding, while every
row is as likely in one step as in another. Flattened rows need no such order, and without it batches are of like size, so that
none takes much more memory than the others. A batch is cut into micro-batches that fit the token budget; the loss is
normalised over the whole batch, so that the cut changes nothing but memory (and which row gets which dropout).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from tunewright.infer.batch import flatten, flatten_shared, group_by_tokens
from tunewright.types import Batch, Encoded, Ints

WINDOW = 32
"""Batches in a sorting window: padding falls to a few percent already at 16, and 32 keeps 1,000 rows in one window."""


@dataclass(frozen=True)
class Examples:
    """The examples of one split in memory: token ids per row, the rows' ids, and the targets.

    Targets are [N, K], one row to an example, or with ``per_token`` [T], one weight to each token of the rows end to end.
    """

    ids: Sequence[Ints]
    targets: torch.Tensor
    row_ids: Ints
    per_token: bool = False

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.row_ids)

    def take(self, rows: Ints) -> Examples:
        """Some of the rows, in the order given."""
        return Examples([self.ids[row] for row in rows], self.target(rows), self.row_ids[rows], self.per_token)

    def target(self, rows: Ints) -> torch.Tensor:
        """The targets of some rows, in the order given."""
        if not self.per_token:
            return self.targets[torch.from_numpy(rows)]
        bounds = self.bounds
        parts = [self.targets[bounds[row] : bounds[row + 1]] for row in rows]
        return torch.cat(parts) if parts else self.targets[:0]

    @cached_property
    def bounds(self) -> Ints:
        """Where each row's tokens begin, and the end of the last: bounds[N+1]."""
        return np.cumsum([0, *(len(ids) for ids in self.ids)])

    def batch(self, rows: Ints) -> Batch:
        """Some rows as one batch, in the order given."""
        stream = flatten([self.ids[row] for row in rows])
        ids = tuple(int(row) for row in self.row_ids[rows])
        return Batch({"source": stream}, {"target": self.target(rows)}, ids, len(stream.ids))


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
    targets = torch.from_numpy(np.array(target.values.to_numpy(), dtype=np.float32))
    if not encoded.per_token:
        targets = targets.view(-1, max(1, len(targets) // max(1, len(target))))
    ids = [flat[start:end] for start, end in pairwise(bounds)]
    return Examples(ids, targets, table["id"].to_numpy(), encoded.per_token)


def token_weights(examples: Examples) -> list[torch.Tensor] | None:
    """The weights of each row's tokens, where targets are per token."""
    if not examples.per_token:
        return None
    return [examples.targets[start:end] for start, end in pairwise(examples.bounds)]


class Batches:
    """The batches of every epoch."""

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        token_budget: int,
        seed: int,
        pads: bool = True,
        shares: bool = False,
    ) -> None:
        """``batch_size`` in rows per update, ``token_budget`` in tokens per micro-batch, with padding where the model ``pads``.

        With ``shares``, what rows of a micro-batch begin with alike is laid down once; targets are then per token.
        """
        self.examples = examples
        self.pads = pads
        self.shares = shares
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
        for group in self.groups(self.rows(step)):
            yield self.batch(group)

    def batch(self, rows: Ints) -> Batch:
        """A micro-batch of these rows, in the order given."""
        if not self.shares:
            return self.examples.batch(rows)
        chosen = self.examples.take(rows)
        stream, weights = flatten_shared(chosen.ids, token_weights(chosen) or [])
        return Batch({"source": stream}, {"target": weights}, tuple(chosen.row_ids.tolist()), len(stream.ids))

    def groups(self, rows: Ints) -> list[Ints]:
        """Some rows cut into micro-batches within the token budget, longest first."""
        rows = rows[np.argsort(-self._lengths[rows], kind="stable")]
        lengths = [int(length) for length in self._lengths[rows]]
        return [rows[group] for group in group_by_tokens(lengths, self.token_budget, pads=self.pads)]

    def size(self, rows: Ints) -> int:
        """Tokens of the largest micro-batch of these rows, with padding where the model pads."""
        lengths = [self._lengths[group] for group in self.groups(rows)]
        return max(int(each.max()) * len(each) if self.pads else int(each.sum()) for each in lengths)

    def facts(self, step: int) -> tuple[tuple[int, ...], int]:
        """The ids of the update's rows, longest row first, and the tokens in them."""
        rows = np.concatenate(self.groups(self.rows(step)))
        return tuple(int(row) for row in self.examples.row_ids[rows]), int(self._lengths[rows].sum())

    def columns(self, step: int) -> Mapping[str, torch.Tensor]:
        """The typed columns of all the update's rows, for the normalising count."""
        return {"target": self.examples.target(self.rows(step))}

    def _plan(self, epoch: int) -> list[Ints]:
        """The rows of each batch of ``epoch``, in order."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.examples))
        num_whole = len(order) // self.batch_size
        whole, rest = np.split(order, [num_whole * self.batch_size])
        if not self.pads:
            return np.split(order, list(range(self.batch_size, len(order), self.batch_size)))
        batches: list[Ints] = []
        for start in range(0, len(whole), WINDOW * self.batch_size):
            rows = whole[start : start + WINDOW * self.batch_size]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches.extend(rows.reshape(-1, self.batch_size))
        shuffled = [batches[index] for index in random.permutation(num_whole)]
        return [*shuffled, rest] if len(rest) else shuffled
