"""Splits that depend on content and seed alone: not on file order, stratified, and no group crosses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunewright.types import Ints

TRAIN, VALIDATION, TEST = range(3)
OPEN = -1
"""The user did not say; the row is assigned here."""

_TO_TRAIN = frozenset(("train", "training", "trn", "训练", "训练集", "train_set", "fit"))
_TO_VALIDATION = frozenset(
    ("validation", "valid", "val", "dev", "development", "eval", "验证", "验证集", "开发", "开发集")
)
_TO_TEST = frozenset(("test", "testing", "tst", "heldout", "held_out", "测试", "测试集", "test_set"))


def read_split(value: object) -> int | None:
    """The split that a value names, in English or Chinese; None for anything else."""
    name = str(value).strip().lower().replace("-", "_")
    if name in _TO_TRAIN:
        return TRAIN
    if name in _TO_VALIDATION:
        return VALIDATION
    return TEST if name in _TO_TEST else None


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of the rows to hold out, 0..1 each."""

    validation: float
    test: float


def assign_splits(
    hashes: NDArray[Any], groups: NDArray[Any], strata: Ints, given: NDArray[Any], shares: Shares, seed: int
) -> NDArray[np.int8]:
    """The split of each of N rows from content hash[N], group[N], stratum[N] and the user's split[N] (``OPEN``: none).

    Only OPEN rows are assigned. A group goes as a whole with the commonest stratum of its rows. Within a stratum, groups
    are ordered by a hash of content and seed; test is filled first, then validation, the rest trains. A stratum of three
    rows or more reaches test, of four or more also validation, and always training; smaller ones only train.
    """
    split = np.asarray(given, np.int8).copy()
    rows = np.flatnonzero(split == OPEN)
    if not len(rows):
        return split
    key = mix(np.asarray(hashes, np.uint64)[rows], seed)
    _, group = np.unique(np.asarray(groups)[rows], return_inverse=True)
    num_groups = int(group.max()) + 1
    size = np.bincount(group, minlength=num_groups)
    group_key = np.full(num_groups, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(group_key, group, key)
    stratum = _commonest(group, np.asarray(strata)[rows], num_groups)
    assigned = np.zeros(num_groups, np.int8)
    order = np.lexsort((group_key, stratum))
    edges = np.flatnonzero(np.r_[True, stratum[order][1:] != stratum[order][:-1]])
    for start, end in zip(edges, np.r_[edges[1:], num_groups], strict=True):
        members = order[start:end]
        assigned[members] = _fill(size[members], shares)
    split[rows] = assigned[group]
    _cover_training(split, rows, group, np.asarray(strata), key)
    return split


def mix(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Hashes turned into an order that depends on the seed (the finaliser of SplitMix64, Steele et al. 2014, fig. 16)."""
    with np.errstate(over="ignore"):
        state = hashes + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % (1 << 64))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed


def _fill(sizes: Ints, shares: Shares) -> NDArray[np.int8]:
    """The split of each group of one stratum, in order, by their sizes."""
    total = int(sizes.sum())
    assigned = np.zeros(len(sizes), np.int8)
    if total < 3 or len(sizes) < 2:
        return assigned
    want_test = max(1, round(shares.test * total)) if shares.test else 0
    want_validation = max(1, round(shares.validation * total)) if shares.validation and total >= 4 else 0
    reach = np.cumsum(sizes)
    num_test = _reaching(reach, want_test)
    offset = int(reach[num_test - 1]) if num_test else 0
    num_both = num_test + _reaching(reach[num_test:] - offset, want_validation)
    num_both = min(num_both, len(sizes) - 1)
    assigned[:num_test] = TEST
    assigned[num_test:num_both] = VALIDATION
    assigned[num_both:] = TRAIN
    return assigned


def _reaching(reach: Ints, wanted: int) -> int:
    """How many groups come nearest to the wanted number of rows; none for none, and at least one otherwise."""
    if wanted <= 0 or not len(reach):
        return 0
    count = int(np.searchsorted(reach, wanted))
    if count >= len(reach):
        return len(reach)
    below = int(reach[count - 1]) if count else 0
    return count + 1 if not count or int(reach[count]) - wanted <= wanted - below else count


def _commonest(group: Ints, strata: Ints, num_groups: int) -> Ints:
    """The commonest stratum in each group; the smallest number on a tie."""
    pairs, counts = np.unique(np.stack([group, strata]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = np.unique(pairs[0][order], return_index=True)[1]
    found: Ints = pairs[1][order][first]
    assert len(found) == num_groups
    return found


def _cover_training(split: NDArray[np.int8], rows: Ints, group: Ints, strata: Ints, key: NDArray[np.uint64]) -> None:
    """Move groups to training until every stratum with three rows or more has one there, as far as rows are ours to move."""
    names, counts = np.unique(strata, return_counts=True)
    trained = np.unique(strata[split == TRAIN])
    for name in np.setdiff1d(names[counts >= 3], trained):
        inside = np.flatnonzero(strata[rows] == name)
        if len(inside):
            chosen = group[inside[np.argmax(key[inside])]]
            split[rows[group == chosen]] = TRAIN
