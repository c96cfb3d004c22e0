"""A training in miniature: a copy of the module and a few of its real rows, small enough that a check takes a second.

Cut is only what repeats itself: rows to ``MOST_TOKENS``, a deep trunk to its first layers (one of each kind), a large
vocabulary to the tokens that occur. The module that is to be trained is read and never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunewright.config.base import Extension
from tunewright.train.batches import Examples
from tunewright.train.loop import LossFunction
from tunewright.train.train import make_loss
from tunewright.types import Ints, Trainable

NUM_ROWS = 7
"""A prime: whatever way they are cut into several batches, not all of these are of one size, unless each is a row."""

MOST_TOKENS = 40
CANDIDATES = 256
LARGE_TRUNK = 12_000_000
"""Parameters in the layers above which the trunk is cut; MiniLM, with 10.6 million, is not."""

LARGE_VOCABULARY = 4096
KEPT_WORDS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Miniature:
    """What is tested; ``note`` says what was cut, for people; ``dtype`` is what the run computes in.

    ``splits``: the run keeps its weights in two halves.
    """

    module: Any
    examples: Examples
    loss_function: LossFunction
    optimizer: Extension
    note: str
    dtype: str = "fp32"
    splits: bool = False


def make_miniature(
    trainable: Trainable,
    examples: Examples,
    optimizer: Extension,
    device: str = "cpu",
    dtype: str = "fp32",
    *,
    splits: bool = False,
) -> Miniature:
    """Copy what is to be trained and choose a few of its rows. A shell that remembers states is left out."""
    loss_function = make_loss(trainable.phases[0].objective)
    chosen = choose_rows(examples, loss_function)
    module: Any = trainable.module if hasattr(trainable.module, "trunk") else trainable.module.get_submodule("module")
    memo: dict[int, Any] = {}
    notes = [f"{len(chosen)} rows of at most {max(map(len, chosen.ids))} tokens"]
    layers = _repeated(module.trunk)
    if layers is not None and sum(each.numel() for each in layers.parameters()) > LARGE_TRUNK:
        kept = _enough_layers(module.trunk.config, len(layers))
        memo[id(layers)] = copy.deepcopy(torch.nn.ModuleList(list(layers)[:kept]), memo)
        notes.append(f"the first {kept} of {len(layers)} layers")
    words = _words(module, chosen.ids)
    if words is not None:
        notes.append(f"{len(words):,} words of the vocabulary")
        remap = np.full(int(words.max()) + 1, -1, dtype=np.int64)
        remap[words] = np.arange(len(words))
        chosen = Examples([remap[ids] for ids in chosen.ids], chosen.targets, chosen.row_ids, chosen.per_token)
        for layer in _vocabulary_layers(module):
            for value in (layer.weight, getattr(layer, "bias", None)):
                if value is not None and id(value) not in memo:
                    rows = value.detach()[torch.from_numpy(words).to(value.device)].clone()
                    memo[id(value)] = torch.nn.Parameter(rows, requires_grad=value.requires_grad)
    small = copy.deepcopy(module, memo)
    if words is not None:
        _tell_number_of_words(small.trunk, words)
    return Miniature(
        module=small.to(device),
        examples=chosen,
        loss_function=loss_function,
        optimizer=optimizer,
        note=", ".join(notes),
        dtype=dtype if trainable.look_ahead is None else "fp32",
        splits=splits,
    )


def choose_rows(examples: Examples, loss_function: LossFunction) -> Examples:
    """A few rows from the least supervised to the most, each with something to learn; the first of them nearly nothing.

    A mean of means and the mean of all differ by as much as the rows' counts do.
    """
    spread = np.unique(np.linspace(0, len(examples) - 1, min(CANDIDATES, len(examples))).astype(np.int64))
    rows = [
        cut
        for row in spread
        if float(loss_function.count({"target": (cut := _short(examples, int(row), loss_function)).targets}))
    ]
    rows.sort(key=lambda row: (float(row.targets.sum()) if row.per_token else 0.0, len(row.ids[0])))
    at = np.unique(np.linspace(0, len(rows) - 1, min(NUM_ROWS, len(rows))).astype(np.int64))
    rows = [rows[index] for index in at]
    if examples.per_token and not hasattr(loss_function, "kept"):
        first = rows[0].targets.clone()
        first[: int(first.nonzero()[-1])] = 0.0
        rows[0] = Examples(rows[0].ids, first, rows[0].row_ids, per_token=True)
    ids = [row.ids[0] for row in rows]
    return Examples(ids, torch.cat([row.targets for row in rows]), np.arange(len(rows)), examples.per_token)


def silence_dropout(module: torch.nn.Module) -> None:
    """Set every probability of dropout to zero, in layers and where an architecture keeps it as a number."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        for name, value in vars(layer).items():
            if "drop" in name and isinstance(value, float):
                setattr(layer, name, 0.0)


def _short(examples: Examples, row: int, loss_function: LossFunction) -> Examples:
    """One row, cut: per token to the window that ends with its last supervised one, else to its beginning.

    An objective in which tokens belong together says itself what is ``kept``.
    """
    one = examples.take(np.array([row]))
    ids, targets = one.ids[0], one.targets
    if not examples.per_token:
        return Examples([ids[:MOST_TOKENS]], targets, one.row_ids)
    if (choose := getattr(loss_function, "kept", None)) is not None:
        kept = choose(targets.numpy(), MOST_TOKENS)
        return Examples([ids[kept]], targets[kept], one.row_ids, per_token=True)
    stop = int(targets.nonzero()[-1]) + 1 if bool(targets.any()) else len(ids)
    start = max(0, stop - MOST_TOKENS)
    targets = targets[start:stop].clone()
    targets[0] = 0.0  # the first token follows nothing
    return Examples([ids[start:stop]], targets, one.row_ids, per_token=True)


def _repeated(trunk: Any) -> torch.nn.ModuleList | None:
    """The list of the trunk's layers."""
    number = getattr(trunk.config, "num_hidden_layers", None)
    lists = [each for each in trunk.modules() if isinstance(each, torch.nn.ModuleList) and len(each) == number]
    return lists[0] if lists else None


def _enough_layers(config: Any, num_layers: int) -> int:
    """Two, or as many as show each kind of layer once."""
    kinds = getattr(config, "layer_types", None) or ()
    return min(num_layers, max([2, *(kinds.index(kind) + 1 for kind in set(kinds))]))


def _vocabulary_layers(module: Any) -> list[Any]:
    """The embedding, and the output layer where that predicts tokens."""
    writes = not getattr(module, "trains_head", True)
    return [module.trunk.get_input_embeddings(), *([module.head] if writes else [])]


def _words(module: Any, ids: Sequence[Ints]) -> Ints | None:
    """The sorted token ids to keep: those that occur, and the lowest, among which pad ids stand; None to keep all."""
    layers = _vocabulary_layers(module)
    is_plain = all(type(layer) in (torch.nn.Linear, torch.nn.Embedding) or _is_scaled(layer) for layer in layers)
    if not is_plain or len({len(layer.weight) for layer in layers}) > 1 or len(layers[0].weight) <= LARGE_VOCABULARY:
        return None
    return np.unique(np.concatenate([*ids, np.arange(KEPT_WORDS)]))


def _is_scaled(layer: object) -> bool:
    return isinstance(layer, torch.nn.Embedding)


def _tell_number_of_words(trunk: Any, words: Ints) -> None:
    embedding: torch.nn.Embedding = trunk.get_input_embeddings()
    embedding.num_embeddings = len(words)
    if embedding.padding_idx is not None and embedding.padding_idx >= KEPT_WORDS:
        embedding.padding_idx = None
