"""What rows begin with alike is found, cut where it saves most, and left alone where it saves little."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tunewright.infer.batch import flatten_shared
from tunewright.infer.prefixes import Prefix, find_prefixes
from tunewright.types import Ints


def rows_of(*texts: str) -> list[Ints]:
    """One token to each letter."""
    return [np.array([ord(letter) for letter in text], dtype=np.int64) for text in texts]


def found(*texts: str) -> list[tuple[set[int], int]]:
    return sorted(((set(each.rows), each.length) for each in find_prefixes(rows_of(*texts))), key=lambda each: -each[1])


SYSTEM = "you are a helpful assistant. "


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), []),
        ((SYSTEM,), []),
        ((SYSTEM + "one", SYSTEM + "two"), [({0, 1}, len(SYSTEM))]),
        (("one", SYSTEM + "x", "two", SYSTEM + "y"), [({1, 3}, len(SYSTEM))]),
        (("nothing in common", "at all, at all"), []),
        (("short a", "short b"), []),
        ((SYSTEM, SYSTEM), [({0, 1}, len(SYSTEM) - 1)]),
        ((SYSTEM, SYSTEM + "longer"), [({0, 1}, len(SYSTEM) - 1)]),
        ((SYSTEM + "a", SYSTEM + "b" * 900, SYSTEM + "c" * 900), []),
    ],
)
def test_prefixes(texts: tuple[str, ...], expected: list[tuple[set[int], int]]) -> None:
    assert found(*texts) == expected


def test_pairs_of_answers_are_better_cut_than_taken_together() -> None:
    one, two = (
        SYSTEM + "what is the height of the highest mountain? ",
        SYSTEM + "who wrote the first novel, and in which year? ",
    )
    pairs = found(one + "8,849 m", one + "nine km", two + "the lady", two + "nobody")
    assert pairs == sorted([({0, 1}, len(one)), ({2, 3}, len(two))], key=lambda each: -each[1])


def test_what_is_found_is_as_good_as_trying_every_cut() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        rows = [random.integers(0, 2, random.integers(2, 30)) for _ in range(random.integers(2, 7))]
        prefixes = find_prefixes(rows)
        assert sum(each.saved for each in prefixes) == _most(rows)
        taken = [row for each in prefixes for row in each.rows]
        assert len(taken) == len(set(taken))
        for each in prefixes:
            first = rows[each.rows[0]][: each.length]
            assert all(np.array_equal(rows[row][: each.length], first) for row in each.rows)
            assert all(len(rows[row]) > each.length for row in each.rows)


def _most(rows: list[Ints]) -> int:
    """The saving of the best of all cuts of the sorted rows; 0 where it is not worthwhile."""
    order = sorted(rows, key=lambda row: row.astype(">u4").tobytes())

    def best(start: int) -> int:
        if start >= len(order):
            return 0
        options = [best(start + 1)]
        for stop in range(start + 2, len(order) + 1):
            group = order[start:stop]
            size = min(len(row) for row in group) - 1
            length = next((at for at in range(size) if len({int(row[at]) for row in group}) > 1), size)
            if length >= 8:
                options.append((stop - start - 1) * length + best(stop))
        return max(options)

    saved = best(0)
    return saved if saved * 16 >= sum(map(len, rows)) else 0


def test_the_stream_holds_each_prefix_once_and_sums_its_weights() -> None:
    rows = rows_of(SYSTEM + "ab", "alone", SYSTEM + "cde")
    weights = [torch.full((len(row),), float(number + 1)) for number, row in enumerate(rows)]
    stream, summed = flatten_shared(rows, weights)
    size = len(SYSTEM)
    assert find_prefixes(rows) == [Prefix((0, 2), size)]
    assert stream.bounds.tolist() == [0, size, size + 2, size + 7, size + 10]
    assert stream.parents == (-1, 0, -1, 0)
    assert stream.positions.tolist() == [*range(size), size, size + 1, *range(5), size, size + 1, size + 2]
    assert summed.tolist() == [4.0] * size + [1.0] * 2 + [2.0] * 5 + [3.0] * 3
    plain, same = flatten_shared(rows[:2], weights[:2])
    assert plain.parents == ()
    assert torch.equal(same, torch.cat(weights[:2]))
