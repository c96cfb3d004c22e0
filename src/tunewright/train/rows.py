"""Train only the embedding rows that occur.

A multilingual vocabulary has 250,000 rows of which a data set touches a few thousand. Rows that never occur get no gradient
and, as embeddings are not decayed, never change; so the matrix is cut down to the rows that occur, token ids are translated,
and the full matrix is put back together afterwards. Exact (numerics test): same losses, same weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunewright.types import Encoded, Ints

WORTHWHILE = 0.5
"""Compact only where at most this share of the rows occurs; otherwise the saving does not pay for the translation."""

SMALL_PAD_ID = 1000
"""Encoders pad with a small id. Decoders that pad with a large one never read the slot, so it need not be kept."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """The full matrix as it was, the rows kept, and remap[V]: token id -> compact id (-1 where the row was dropped)."""

    full: torch.Tensor
    kept: torch.Tensor
    remap: Ints
    padding_idx: int | None


def rows_that_occur(encoded: Encoded, splits: Iterable[str]) -> Ints:
    """The sorted token ids that occur in the splits."""
    found = [np.unique(encoded.table(split)["source"].combine_chunks().values.to_numpy()) for split in splits]
    return np.unique(np.concatenate(found)).astype(np.int64)


def compact(module: Any, occurring: Ints) -> Compaction | None:
    """Cut the input embedding of the module's trunk down in place.

    None where that would not pay, where the matrix is shared, and where ids are what is predicted: a head that came with the
    base knows tokens by their own ids.
    """
    if not getattr(module, "trains_head", True):
        return None
    trunk = module.trunk
    embedding: torch.nn.Embedding = trunk.get_input_embeddings()
    num_rows = embedding.num_embeddings
    users = [name for name, value in module.named_parameters(remove_duplicate=False) if value is embedding.weight]
    if len(users) != 1:
        return None
    kept = np.unique(np.concatenate([occurring, _kept_in_place(trunk, embedding)]))
    if len(kept) > WORTHWHILE * num_rows:
        return None
    remap = np.full(num_rows, -1, dtype=np.int64)
    remap[kept] = np.arange(len(kept))
    full = embedding.weight.detach()
    kept_rows = torch.from_numpy(kept)
    embedding.weight = torch.nn.Parameter(full[kept_rows].clone(), requires_grad=embedding.weight.requires_grad)
    embedding.num_embeddings = len(kept)
    padding, embedding.padding_idx = embedding.padding_idx, None
    if padding is not None and remap[padding] >= 0:
        embedding.padding_idx = int(remap[padding])
    return Compaction(full, kept_rows, remap, padding)


def expand(trunk: Any, compaction: Compaction) -> None:
    """Put the full matrix back in place, with the trained rows in it."""
    embedding: torch.nn.Embedding = trunk.get_input_embeddings()
    full = compaction.full.clone()
    full[compaction.kept] = embedding.weight.detach().to(full.device)
    embedding.weight = torch.nn.Parameter(
        full.to(embedding.weight.device), requires_grad=embedding.weight.requires_grad
    )
    embedding.num_embeddings = len(full)
    embedding.padding_idx = compaction.padding_idx


def _kept_in_place(trunk: Any, embedding: torch.nn.Embedding) -> Ints:
    """Ids that keep their number: the pad id and all below it, since RoBERTa derives positions from the pad id's value."""
    pads = {embedding.padding_idx, getattr(trunk.config, "pad_token_id", None)} - {None}
    low = [pad for pad in pads if pad is not None and 0 <= pad < SMALL_PAD_ID]
    return np.arange(max(low, default=0) + 1, dtype=np.int64)
