"""N5: a run killed at any moment goes on by the same command and ends with the same bits."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("kill_campaign.py")
NUMERICS = ("train.dtype=bf16", "train.threads=2")  # the probe may decide otherwise on a busy machine


def _first_rows(source: Path, target: Path, count: int) -> Path:
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stride = len(rows) // count
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[::stride][:count])
    return target


@pytest.mark.timeout(240)
def test_five_kills_change_nothing(
    tmp_path: Path, run_process: Callable[..., object], movie_reviews_file: Path, minilm_folder: Path
) -> None:
    data = _first_rows(movie_reviews_file, tmp_path / "reviews.csv", 300)
    options = (f"model={minilm_folder}", "train.epochs=1", "train.batch_size=16", "train.commit_seconds=0.5")
    judged = ("evaluate.out_of_fold=false", "evaluate.resamples=200")
    done = run_process(
        sys.executable, CAMPAIGN, tmp_path / "runs", 5, 7, data, *options, *judged, *NUMERICS, timeout_seconds=220
    )
    found = json.loads(done.stdout.splitlines()[-1])  # type: ignore[attr-defined]
    assert found["kills"] == 5
    assert found["unlike"] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_kills_of_the_movie_run_change_nothing(
    tmp_path: Path, run_process: Callable[..., object], movie_reviews_file: Path, minilm_folder: Path
) -> None:
    options = (f"model={minilm_folder}", "train.epochs=1", "train.commit_seconds=5", *NUMERICS)
    done = run_process(
        sys.executable, CAMPAIGN, tmp_path / "runs", 30, 11, movie_reviews_file, *options, timeout_seconds=3500
    )
    found = json.loads(done.stdout.splitlines()[-1])  # type: ignore[attr-defined]
    assert found["kills"] == 30
    assert found["unlike"] == []
