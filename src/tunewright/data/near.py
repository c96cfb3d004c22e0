"""Near duplicates: MinHash over character 5-grams, banded, each candidate checked by its true Jaccard similarity.

MinHash is Broder 1997, "On the resemblance and containment of documents", section 3; banding is Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4.2: with 16 bands of 4 rows a pair of similarity 0.8 is met with
probability 1 - (1 - 0.8^4)^16 = 0.9998.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunewright.data.splits import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROWS = 20_000
SIMILARITY = 0.8

_GRAM = 5
_NUM_BANDS, _BAND_ROWS = 16, 4
_MAX_CHARACTERS = 2000
_MAX_BUCKET = 50


def find_near_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i < j) of the N normalised texts whose sets of 5-grams have a Jaccard similarity of 0.8 or more.

    Texts under 20 characters are left out: a change of one character there is a change of meaning. Only the first 2,000
    characters count, and of a bucket of more than 50 texts only the first 50 are compared.
    """
    usable = [number for number, text in enumerate(texts) if len(text) >= 4 * _GRAM]
    rng = np.random.default_rng(20260101)
    num_hashes = _NUM_BANDS * _BAND_ROWS
    seeds = rng.integers(0, 1 << 63, num_hashes, dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    grams: dict[int, NDArray[np.uint64]] = {}
    for number in usable:
        grams[number] = _grams(texts[number])
        signature = mix(grams[number][:, None] ^ seeds, 0).min(axis=0).reshape(_NUM_BANDS, _BAND_ROWS)
        for band in range(_NUM_BANDS):
            bucket = buckets[band, signature[band].tobytes()]
            if len(bucket) < _MAX_BUCKET:
                bucket.append(number)
    candidates = {
        (first, second)
        for bucket in buckets.values()
        if len(bucket) > 1
        for at, first in enumerate(bucket)
        for second in bucket[at + 1 :]
    }
    return [
        (first, second) for first, second in sorted(candidates) if _jaccard(grams[first], grams[second]) >= SIMILARITY
    ]


def _grams(text: str) -> NDArray[np.uint64]:
    """The set of 5-grams as distinct 64-bit hashes, sorted."""
    codes = np.frombuffer(text[:_MAX_CHARACTERS].encode("utf-32-le"), np.uint32).astype(np.uint64)
    num_grams = len(codes) - _GRAM + 1
    total = np.zeros(num_grams, np.uint64)
    for shift in range(_GRAM):
        total = mix(total ^ codes[shift : shift + num_grams], 0)
    return np.unique(total)


def _jaccard(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> float:
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
