"""A text as tokens with their places in it, and windows over a text that is longer than what a model reads at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunewright.infer.load import letters, spelled_in_one

OVERLAP = 4
"""A quarter of a window is read a second time by the next: no word is judged without some text on both sides."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a tokenizer sets before and behind every text."""

    before: tuple[int, ...]
    behind: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """How many of them there are."""
        return len(self.before) + len(self.behind)

    def around(self, ids: Sequence[int]) -> list[int]:
        """The ids of a text within them."""
        return [*self.before, *ids, *self.behind]


@lru_cache(maxsize=4)
def frame_of(tokenizer: Any) -> Frame:
    """The special tokens of this tokenizer."""
    probe = tokenizer(["x 好 1"], return_special_tokens_mask=True, split_special_tokens=True)
    ids, special = probe["input_ids"][0], probe["special_tokens_mask"][0]
    start, end = special.index(0), len(special) - special[::-1].index(0)
    return Frame(tuple(ids[:start]), tuple(ids[end:]))


def locate(tokenizer: Any, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """(Token ids, their character offsets) of each text, without special tokens; what a text spells of them is text."""
    if not texts:
        return []
    found = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        split_special_tokens=True,
    )
    places = [[(int(start), int(end)) for start, end in row] for row in found["offset_mapping"]]
    spelled = spelled_in_one(tokenizer)
    pairs = zip(found["input_ids"], places, strict=True)
    return [_spelled_out(tokenizer, *pair, spelled) if spelled.intersection(pair[0]) else pair for pair in pairs]


def _spelled_out(
    tokenizer: Any, ids: Sequence[int], places: Sequence[tuple[int, int]], spelled: frozenset[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Each control token that a text spells as its letters, which all stand where it stood."""
    pieces = [letters(tokenizer, [token], spelled) for token in ids]
    where = [place for place, piece in zip(places, pieces, strict=True) for _ in piece]
    return [token for piece in pieces for token in piece], where


def windows(num_tokens: int, room: int) -> Iterator[tuple[int, int]]:
    """Start and end of each window of at most ``room`` tokens; together they cover all, neighbours overlap by a quarter."""
    step = max(1, room - room // OVERLAP)
    start = 0
    while True:
        end = min(start + room, num_tokens)
        yield start, end
        if end == num_tokens:
            return
        start += step
