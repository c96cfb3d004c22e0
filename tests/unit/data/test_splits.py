"""Duplicates, near duplicates and splits against plain oracles."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.data.duplicates import find_duplicates, hash_text, normalise
from tunewright.data.near import find_near_pairs
from tunewright.data.splits import OPEN, TEST, TRAIN, VALIDATION, Shares, assign_splits, mix, read_split

ROW = st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 2))
SMALL = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Good film!", "good  FILM"), ("ＯＫ，好的", "ok好的"), ("Straße", "STRASSE"), ("don't", "dont"), ("a_b", "ab")],
)
def test_texts_that_count_as_the_same(first: str, second: str) -> None:
    assert normalise(first) == normalise(second)


def test_marks_alone_still_differ() -> None:
    assert normalise(":-)") != normalise(":-(")
    assert normalise("好看") != normalise("不好看")


@given(rows=st.lists(ROW, max_size=40))
@SMALL
def test_duplicates_agree_with_a_plain_search(rows: list[tuple[int, int, int]]) -> None:
    found = find_duplicates([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    for text in {row[0] for row in rows}:
        group = [number for number, row in enumerate(rows) if row[0] == text]
        rank = max(rows[number][2] for number in group)
        best = [number for number in group if rows[number][2] == rank]
        votes = Counter(rows[number][1] for number in best)
        winner = max(votes, key=lambda label: (votes[label], -min(n for n in best if rows[n][1] == label)))
        keep = min(number for number in best if rows[number][1] == winner)
        assert [bool(found.kept[number]) for number in group] == [number == keep for number in group]
        assert {int(found.original[number]) for number in group} == {keep}
        assert [bool(found.relabelled[number]) for number in group] == [rows[number][1] != winner for number in group]
        assert [bool(found.leaked[number]) for number in group] == [rows[number][2] < rank for number in group]
    conflicting = {text for text, _, _ in rows if len({label for other, label, _ in rows if other == text}) > 1}
    assert found.num_conflicts == len(conflicting)


@given(strata=st.lists(st.integers(0, 5), min_size=1, max_size=120), seed=st.integers(0, 2**40), order=st.randoms())
@SMALL
def test_splits_keep_their_promises(strata: list[int], seed: int, order: random.Random) -> None:
    hashes = [hash_text(str(number)) for number in range(len(strata))]
    split = _assign(hashes, hashes, strata, [OPEN] * len(strata), seed)
    for stratum, count in Counter(strata).items():
        inside = Counter(split[number] for number in range(len(strata)) if strata[number] == stratum)
        assert inside[TRAIN] >= 1
        assert inside[TEST] == (max(1, round(0.2 * count)) if count >= 3 else 0)
        assert inside[VALIDATION] == (max(1, round(0.1 * count)) if count >= 4 else 0)
    shuffled = list(range(len(strata)))
    order.shuffle(shuffled)
    again = _assign(
        [hashes[n] for n in shuffled],
        [hashes[n] for n in shuffled],
        [strata[n] for n in shuffled],
        [OPEN] * len(strata),
        seed,
    )
    assert [split[number] for number in shuffled] == again


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 15), st.integers(0, 3), st.sampled_from([OPEN, OPEN, OPEN, VALIDATION, TEST])),
        min_size=1,
        max_size=100,
    )
)
@SMALL
def test_groups_stay_whole_and_given_rows_stay_put(rows: list[tuple[int, int, int]]) -> None:
    hashes = [hash_text(str(number)) for number in range(len(rows))]
    groups, strata, given_split = zip(*rows, strict=True)
    split = _assign(hashes, list(groups), list(strata), list(given_split), 0)
    assert all(split[number] == told for number, told in enumerate(given_split) if told != OPEN)
    for group in set(groups):
        assert len({split[number] for number, row in enumerate(rows) if row[0] == group and row[2] == OPEN}) <= 1
    for stratum, count in Counter(strata).items():
        movable = any(row[1] == stratum and row[2] == OPEN for row in rows)
        if count >= 3 and movable:
            assert any(split[number] == TRAIN for number, row in enumerate(rows) if row[1] == stratum)


def test_large_splits_come_near_their_shares() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 20_000, dtype=np.uint64)
    strata = rng.choice(5, 20_000, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    groups = rng.integers(0, 3000, 20_000)
    split = assign_splits(hashes, groups, strata, np.full(20_000, OPEN), Shares(0.1, 0.2), 7)
    assert np.bincount(split) / 20_000 == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_mixing_is_that_of_splitmix64() -> None:
    """The first outputs of SplitMix64 seeded with 0, as its authors publish them."""
    golden = 0x9E3779B97F4A7C15
    states = np.array([0, golden, (2 * golden) % 2**64], np.uint64)
    assert [hex(value) for value in mix(states, 0).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


@pytest.mark.parametrize(
    ("value", "split"), [("Train", 0), ("训练集", 0), ("dev", 1), ("验证", 1), ("TEST ", 2), ("x", None), (1, None)]
)
def test_names_of_splits(value: object, split: int | None) -> None:
    assert read_split(value) == split


def test_near_duplicates_agree_with_every_pair() -> None:
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(400)]
    texts = ["".join(rng.choices(words, k=12)) for _ in range(150)]
    texts += [text[: rng.randrange(5, 60)] + rng.choice("xyz") + text[rng.randrange(5, 60) :] for text in texts[:60]]
    texts += ["短文", "短文"]
    found = find_near_pairs(texts)
    grams = [{text[at : at + 5] for at in range(len(text) - 4)} for text in texts]
    expected = [
        (a, b)
        for a, b in itertools.combinations(range(len(texts) - 2), 2)
        if len(grams[a] & grams[b]) >= 0.8 * len(grams[a] | grams[b])
    ]
    assert len(expected) > 5
    assert found == expected


def _assign(hashes: list[int], groups: list[int], strata: list[int], given_split: list[int], seed: int) -> list[int]:
    arrays = np.array(hashes, np.uint64), np.array(groups, np.uint64), np.array(strata), np.array(given_split, np.int8)
    assigned: list[int] = assign_splits(*arrays, Shares(0.1, 0.2), seed).tolist()
    return assigned
