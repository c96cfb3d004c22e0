"""Several processes make the updates of one; a checkpoint in parts is read by any number of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import ranks_program
from tunewright.train.ranks import ALONE

CLOSE = 1e-5
BF16 = 2e-2
"""Losses near 1 after six updates in bf16 (8 bits): the row that a sum begins with differs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture
def found(folder: Path, start_process: Any) -> Any:
    """What the processes found; they are started once."""
    if not (folder / "losses.json").exists():
        environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        started = [
            start_process(sys.executable, ranks_program.__file__, number, folder, environment=environment)
            for number in range(3)
        ]
        for process in started:
            _, said = process.communicate(timeout=100)
            assert process.returncode == 0, said
    return json.loads((folder / "losses.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_as_one(found: Any, strategy: str) -> None:
    for name, case in ranks_program.CASES.items():
        losses, answers = ranks_program.train(ALONE, case)
        is_rough = name.startswith("bf16")
        bound = BF16 if is_rough else CLOSE
        assert found[f"{strategy} {name}"]["losses"] == pytest.approx(losses, rel=0, abs=bound), name
        if not is_rough:
            for row, expected in zip(found[f"{strategy} {name}"]["answers"], answers.tolist(), strict=True):
                assert row == pytest.approx(expected, rel=0, abs=1e-4), name


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_checkpoint_of_two_is_continued_by_one_two_or_three(found: Any, folder: Path, strategy: str) -> None:
    losses, _ = ranks_program.train(ALONE, {}, first=folder / strategy)
    for size in (2, 3):
        assert found[f"{strategy} by {size}, 0"]["losses"] == pytest.approx(losses, rel=0, abs=CLOSE), size
        assert found[f"{strategy} by {size}, 0"] == found[f"{strategy} by {size}, 1"], "bit for bit"


def test_a_checkpoint_in_parts_has_a_file_for_each_rank(found: Any, folder: Path) -> None:
    (commit,) = [path for path in (folder / "fsdp").iterdir() if path.is_dir()]
    assert sorted(path.name for path in commit.iterdir()) == [
        "manifest.json",
        "shards.json",
        "state-0-of-2.safetensors",
        "state-1-of-2.safetensors",
    ]
    described = json.loads((commit / "shards.json").read_text(encoding="utf-8"))
    assert described["tensors"]["output.weight"] == {"shape": [3, 8], "parts": [[0, 0, 2], [1, 2, 3]]}
