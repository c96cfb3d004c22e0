"""A value of ``result.json``, read without trust in its shape: what is absent or of another type reads as nothing.

Node(result)["verdict"]["comparisons"].items()      [] where any part of the path is missing
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence


class Node:
    """One value inside a result; indexing never fails, and each reader says what it accepts."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        """Hold any JSON value."""
        self.value = value

    def __getitem__(self, key: str) -> Node:
        """The value under ``key``, or an empty node."""
        return Node(self.value.get(key)) if isinstance(self.value, Mapping) else Node(None)

    def __bool__(self) -> bool:
        """Whether there is anything to show: not None, not an empty string, list or mapping."""
        return self.value is not None and self.value not in ("", [], {})

    def number(self) -> float | None:
        """The value as a finite number; None for anything else, booleans included."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        try:
            number = float(self.value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def count(self) -> int | None:
        """The value as a non-negative whole number."""
        number = self.number()
        return int(number) if number is not None and number >= 0 and number == int(number) else None

    def text(self) -> str:
        """A string as it is, a number or boolean as JSON writes it, a list joined by commas; else the empty string."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, int | float):
            return str(self.value)
        if isinstance(self.value, Sequence):
            return ", ".join(Node(part).text() for part in self.value)
        return ""

    def items(self) -> list[Node]:
        """The elements of a list; nothing for anything else."""
        if isinstance(self.value, Sequence) and not isinstance(self.value, str | bytes):
            return [Node(part) for part in self.value]
        return []

    def pairs(self) -> list[tuple[str, Node]]:
        """The entries of a mapping in their order; nothing for anything else."""
        return [(str(key), Node(part)) for key, part in self.value.items()] if isinstance(self.value, Mapping) else []

    def numbers(self) -> list[float]:
        """The finite numbers of a list, or nothing at all if one element is not a number."""
        found = [part.number() for part in self.items()]
        return [] if None in found else [number for number in found if number is not None]

    def span(self) -> tuple[float, float] | None:
        """An interval: two finite numbers in order."""
        ends = self.numbers()
        return (ends[0], ends[1]) if len(ends) == 2 and ends[0] <= ends[1] else None

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """Every leaf of nested mappings with its dotted path; an empty mapping is a leaf too."""
        for key, part in self.pairs():
            path = f"{prefix}.{key}" if prefix else key
            if part.pairs():
                yield from part.leaves(path)
            else:
                yield path, part


def in_order(pairs: Sequence[tuple[str, Node]], first: Sequence[str]) -> list[tuple[str, Node]]:
    """The entries named in ``first`` in that order, then the others as they come (JSON files are sorted by key)."""
    rank = {name: index for index, name in enumerate(first)}
    return sorted(pairs, key=lambda pair: rank.get(pair[0], len(rank)))
