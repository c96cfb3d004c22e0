"""Duplicates by normalised text, judged over hashes so that memory stays bounded.

Two texts are the same when they agree after NFKC, case folding, and removal of white space and punctuation. Which copy
is kept depends on splits that the user made: a copy in the test rows wins over one in validation, that over training.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tunewright.types import Bools, Ints

_SQUEEZED = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """The text as duplicates are judged: NFKC, case-folded, white space and punctuation gone.

    A text of nothing else, such as ``:-)``, keeps its marks.
    """
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _SQUEEZED.sub("", folded) or "".join(folded.split())


def hash_text(text: str) -> int:
    """The first 64 bits of BLAKE2b. Two of a million different texts agree with probability 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Duplicates:
    """For N rows: ``kept[N]``, and ``original[N]``, the row that stands for each (itself when kept).

    ``relabelled[N]`` marks copies that carried another label than the kept row, ``leaked[N]`` training or validation
    copies of a row that the user put into a later split. ``num_conflicts`` counts groups whose labels disagree.
    """

    kept: Bools
    original: Ints
    relabelled: Bools
    leaked: Bools
    num_conflicts: int
    conflicts: tuple[int, ...]


def find_duplicates(hashes: Sequence[int], labels: Sequence[int], ranks: Sequence[int]) -> Duplicates:
    """Judge N rows by hash[N], label number[N] and the rank[N] of the user's split (0 train, 1 validation, 2 test).

    In a group the highest rank is kept; there, the first row with the commonest label (the earliest label on a tie).
    """
    texts, label, rank = np.asarray(hashes, np.uint64), np.asarray(labels, np.int64), np.asarray(ranks, np.int8)
    num = len(texts)
    kept, original = np.ones(num, np.bool_), np.arange(num)
    relabelled, leaked = np.zeros(num, np.bool_), np.zeros(num, np.bool_)
    conflicts: list[int] = []
    order = np.argsort(texts, kind="stable")
    starts = np.flatnonzero(np.r_[True, texts[order][1:] != texts[order][:-1]]) if num else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, num])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        group = order[start : start + size]
        candidates = group[rank[group] == rank[group].max()]
        counts = Counter(label[candidates].tolist())
        chosen = counts.most_common(1)[0][0]
        keep = int(candidates[label[candidates] == chosen][0])
        kept[group], original[group] = False, keep
        kept[keep] = True
        relabelled[group] = label[group] != chosen
        leaked[group] = rank[group] < rank[keep]
        if relabelled[group].any():
            conflicts.append(keep)
    return Duplicates(kept, original, relabelled, leaked, len(conflicts), tuple(sorted(conflicts)[:5]))
