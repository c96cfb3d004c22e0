"""A search that is killed at any moment goes on by the same command: no trial is lost, none is repeated."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_reviews import sentences, write_csv

if TYPE_CHECKING:
    from conftest import RunProcess

CAMPAIGN = Path(__file__).resolve().parents[1] / "instruments" / "kill_campaign_of_search.py"
REAL = (
    "train.epochs=3", "train.dtype=fp32", "train.threads=1", "tune.trials=4", "tune.strategy={name: tpe, startup: 2}",
    "tune.pruner={name: median, startup: 1}",
)  # fmt: skip


def campaign(run_process: RunProcess, *words: object, seconds: float) -> dict[str, Any]:
    done = run_process(sys.executable, CAMPAIGN, *map(str, words), timeout_seconds=seconds)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def holds(found: dict[str, Any], kills: int) -> None:
    assert found["kills"] == kills
    assert found["wrong"] == []


@pytest.mark.timeout(600)
def test_ten_kills_lose_and_repeat_nothing(tmp_path: Path, run_process: RunProcess) -> None:
    found = campaign(run_process, tmp_path, 10, 5, seconds=580)
    holds(found, 10)
    assert {"complete", "pruned"} <= set(found["states"])
    assert found["most_in_one"] > 1


@pytest.mark.timeout(600)
def test_two_kills_of_a_real_search_change_nothing(
    tmp_path: Path, run_process: RunProcess, tiny_bert_folder: Path
) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(120))
    space = "tune.space={train.lr: {low: 1e-4, high: 1e-2, log: true}, train.batch_size: [8, 16]}"
    words = (tmp_path / "searches", 2, 3, data, f"model={tiny_bert_folder}", *REAL, space)
    holds(campaign(run_process, *words, seconds=580), 2)


@pytest.mark.timeout(600)
def test_two_kills_of_a_search_over_dialogues_change_nothing(
    tmp_path: Path, run_process: RunProcess, tiny_llama_folder: Path
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"颜色 {number}?"}, {"role": "assistant", "content": answer * 3}]}
        for number, answer in enumerate(["red. ", "绿色。", "blue. "] * 20)
    ]
    data = tmp_path / "对话.jsonl"
    data.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    space = "tune.space={train.lr: {low: 1e-4, high: 1e-2, log: true}, method.rank: [2, 4]}"
    words = (
        tmp_path / "searches",
        2,
        3,
        data,
        f"model={tiny_llama_folder}",
        "method=lora",
        *REAL,
        "tune.trials=3",
        space,
    )
    holds(campaign(run_process, *words, seconds=580), 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_of_a_real_search_change_nothing(
    tmp_path: Path, run_process: RunProcess, tiny_bert_folder: Path
) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(120))
    space = "tune.space={train.lr: {low: 1e-4, high: 1e-2, log: true}, train.batch_size: [8, 16]}"
    words = (tmp_path / "searches", 20, 9, data, f"model={tiny_bert_folder}", *REAL, space)
    holds(campaign(run_process, *words, seconds=3000), 20)
