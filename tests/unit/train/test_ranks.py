"""How rows are divided among ranks, and when other processes are started at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tunewright.errors import InputError
from tunewright.train.batches import Examples
from tunewright.train.launch import Launch, join, needs_ranks, run_on_nodes
from tunewright.train.ranks import ALONE, divide
from tunewright.train.shards import _rows
from tunewright.types import Watcher

MakeExamples = Callable[..., Examples]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_row_has_one_rank_and_the_tokens_are_balanced(make_examples: MakeExamples, size: int) -> None:
    examples = make_examples(40)
    rows = np.arange(5, 37)
    shares = divide(rows, examples, size)
    assert sorted(np.concatenate(shares)) == list(rows)
    tokens = [sum(len(examples.ids[row]) for row in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(len(examples.ids[row]) for row in rows.tolist())
    again = divide(rows, examples, size)
    assert all((left == right).all() for left, right in zip(shares, again, strict=True))


def test_more_ranks_than_rows_leave_some_without(make_examples: MakeExamples) -> None:
    shares = divide(np.array([3, 4]), make_examples(10), 3)
    assert sorted(len(share) for share in shares) == [0, 1, 1]


@pytest.mark.parametrize(("num_rows", "size", "expected"), [(5, 2, [3, 2]), (4, 3, [2, 2, 0]), (1, 2, [1, 0])])
def test_slices_are_those_of_torch(num_rows: int, size: int, expected: list[int]) -> None:
    ranges = [_rows(num_rows, rank, size) for rank in range(size)]
    assert [stop - start for start, stop in ranges] == expected
    assert ranges[0][0] == 0
    assert ranges[-1][1] == num_rows


def test_processes_are_started_where_several_are_asked_for_and_this_is_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not needs_ranks(Launch.Config())
    assert needs_ranks(Launch.Config(processes=2))
    assert join(Launch.Config(processes=2)) is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not needs_ranks(Launch.Config(processes=2))


def test_several_nodes_need_a_place_to_meet(tmp_path: Path) -> None:
    config = Launch.Config(nodes=2)
    with pytest.raises(InputError, match="a place to meet") as refused:
        run_on_nodes(config, tmp_path / "run", "train", ["recipe.yaml"], Watcher())
    assert refused.value.hint.startswith("launch.rendezvous=")


def test_a_place_to_meet_is_a_host_and_a_port() -> None:
    with pytest.raises(ValidationError):
        Launch.Config.model_validate({"nodes": 2, "rendezvous": "no-port"})
