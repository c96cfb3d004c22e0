"""The batches are a pure function of seed and epoch, and every row comes once an epoch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tunewright.train.batches import WINDOW, Batches, Examples, read_examples
from tunewright.types import Encoded, Ledger

MakeExamples = Callable[..., Examples]


def batches_of(
    examples: Examples, batch_size: int = 4, token_budget: int = 1000, seed: int = 3, *, pads: bool = True
) -> Batches:
    return Batches(examples, batch_size=batch_size, token_budget=token_budget, seed=seed, pads=pads)


def rows_of_epoch(batches: Batches, epoch: int) -> list[list[int]]:
    steps = batches.steps_per_epoch
    return [batches.rows(step).tolist() for step in range(epoch * steps, (epoch + 1) * steps)]


@pytest.mark.parametrize(("num_rows", "batch_size"), [(1, 4), (3, 4), (4, 4), (5, 4), (12, 4), (301, 2), (7, 1)])
@pytest.mark.parametrize("pads", [True, False])
def test_every_row_comes_once_an_epoch(make_examples: MakeExamples, num_rows: int, batch_size: int, pads: bool) -> None:
    batches = batches_of(make_examples(num_rows), batch_size, pads=pads)
    for epoch in range(3):
        sizes = [len(rows) for rows in rows_of_epoch(batches, epoch)]
        assert sorted(chain(*rows_of_epoch(batches, epoch))) == list(range(num_rows))
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert len(sizes) == batches.steps_per_epoch == -(-num_rows // batch_size)


def test_two_instances_agree_at_any_step_in_any_order(make_examples: MakeExamples) -> None:
    ahead, back = batches_of(make_examples(23)), batches_of(make_examples(23))
    steps = range(3 * ahead.steps_per_epoch)
    seen = [ahead.rows(step).tolist() for step in steps]
    assert [back.rows(step).tolist() for step in reversed(steps)] == seen[::-1]


def test_epochs_and_seeds_differ(make_examples: MakeExamples) -> None:
    batches = batches_of(make_examples(40))
    assert rows_of_epoch(batches, 0) != rows_of_epoch(batches, 1)
    assert rows_of_epoch(batches, 0) != rows_of_epoch(batches_of(make_examples(40), seed=4), 0)


def test_the_smaller_batch_is_drawn_by_chance_and_not_by_length(make_examples: MakeExamples) -> None:
    """Rows that were always in it would weigh more than the others."""
    examples = make_examples(33)
    batches = batches_of(examples)
    last = [rows_of_epoch(batches, epoch)[-1][0] for epoch in range(200)]
    assert len(set(last)) > 25
    mean = np.mean([len(examples.ids[row]) for row in last])
    assert abs(mean - np.mean([len(ids) for ids in examples.ids])) < 0.8


def test_batches_hold_rows_of_like_length(make_examples: MakeExamples) -> None:
    examples = make_examples(4 * WINDOW)
    lengths = np.array([len(ids) for ids in examples.ids])
    spread = [np.ptp(lengths[rows]) for rows in rows_of_epoch(batches_of(examples), 0)]
    assert np.mean(spread) < 1
    first = [lengths[rows].mean() for rows in rows_of_epoch(batches_of(examples), 0)]
    assert first != sorted(first), "short batches must not all come first"


def test_where_nothing_is_padded_they_are_as_drawn(make_examples: MakeExamples) -> None:
    """Batches of all sizes would be as likely to hold the longest rows alone, and memory is that of the largest."""
    examples = make_examples(16 * WINDOW)
    lengths = np.array([len(ids) for ids in examples.ids])
    drawn, sorted_ones = (rows_of_epoch(batches_of(examples, 16, pads=pads), 0) for pads in (False, True))
    largest, of_sorted = (max(lengths[rows].sum() for rows in each) for each in (drawn, sorted_ones))
    assert largest < 0.8 * of_sorted
    assert np.mean([np.ptp(lengths[rows]) for rows in drawn]) > 5


@pytest.mark.parametrize("token_budget", [1, 12, 30, 1000])
def test_micro_batches_hold_the_rows_of_the_step_within_the_budget(
    make_examples: MakeExamples, token_budget: int
) -> None:
    examples = make_examples(10)
    batches = batches_of(examples, batch_size=6, token_budget=token_budget)
    for step in range(2):
        found: list[int] = []
        for batch in batches.micro_batches(step):
            stream = batch.streams["source"]
            lengths = np.diff(stream.bounds)
            assert len(lengths) == 1 or len(lengths) * max(lengths) <= token_budget
            assert batch.num_tokens == len(stream.ids) == sum(lengths)
            for slot, row_id in enumerate(batch.row_ids):
                row = row_id - 1000
                start, end = stream.bounds[slot], stream.bounds[slot + 1]
                assert stream.ids[start:end].tolist() == examples.ids[row].tolist()
                assert stream.positions[start:end].tolist() == list(range(len(examples.ids[row])))
                assert batch.columns["target"][slot].tolist() == examples.targets[row].tolist()
            found += [row_id - 1000 for row_id in batch.row_ids]
        assert sorted(found) == sorted(batches.rows(step).tolist())


def encoded_in(folder: Path, rows: list[tuple[int, list[int], list[float]]]) -> Encoded:
    schema = pa.schema({"id": pa.int64(), "source": pa.list_(pa.int32()), "target": pa.list_(pa.float32())})
    with pa.OSFile(str(folder / "train.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(rows), 2):  # in several pieces, as they are written
            ids, source, target = zip(*rows[start : start + 2], strict=True)
            writer.write_batch(pa.record_batch([ids, source, target], schema=schema))
    ledger = Ledger(used=len(rows), truncated=0, duplicate=0, rejected=0, total=len(rows))
    return Encoded(
        folder=folder, splits={"train": len(rows)}, max_length=8, num_tokens=0, tokens_cut=0, length_histogram={},
        ledger=ledger, choices=(), fingerprint="",
    )  # fmt: skip


ROWS = [(7, [3, 1], [0.0, 1.0]), (9, [2], [1.0, 1.0]), (4, [1, 1, 3], [0.0, 0.0])]


def test_examples_are_read_as_they_were_encoded(tmp_path: Path) -> None:
    examples = read_examples(encoded_in(tmp_path, ROWS), "train")
    assert [ids.tolist() for ids in examples.ids] == [ids for _, ids, _ in ROWS]
    assert examples.targets.tolist() == [target for _, _, target in ROWS]
    assert examples.row_ids.tolist() == [7, 9, 4]
    assert len(examples) == 3


def test_ids_are_translated_for_a_compacted_embedding(tmp_path: Path) -> None:
    remap = np.array([0, 1, 2, 3]) * 10
    examples = read_examples(encoded_in(tmp_path, ROWS), "train", remap)
    assert [ids.tolist() for ids in examples.ids] == [[30, 10], [20], [10, 10, 30]]
    with pytest.raises(AssertionError, match="dropped"):
        read_examples(encoded_in(tmp_path, ROWS), "train", np.array([0, 1, -1, 2]))


def test_a_split_without_rows_reads_as_no_examples(tmp_path: Path) -> None:
    assert len(read_examples(encoded_in(tmp_path, []), "train")) == 0


def test_some_rows_are_taken_in_the_order_given(make_examples: MakeExamples) -> None:
    examples = make_examples(6)
    taken = examples.take(np.array([4, 1]))
    assert [ids.tolist() for ids in taken.ids] == [examples.ids[4].tolist(), examples.ids[1].tolist()]
    assert taken.targets.tolist() == examples.targets[[4, 1]].tolist()
    assert taken.row_ids.tolist() == [1004, 1001]
