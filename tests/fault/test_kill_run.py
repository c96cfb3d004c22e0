"""N5: a run killed at any moment, or on a failing disk, goes on by the same command and ends with the same bits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reliability

if TYPE_CHECKING:
    from conftest import RunProcess

INSTRUMENTS = Path(__file__).resolve().parents[1] / "instruments"


@pytest.mark.timeout(900)
def test_kills_and_failing_disks_change_nothing(tmp_path: Path, run_process: RunProcess) -> None:
    page = tmp_path / "RELIABILITY.md"
    words = ("--campaign", "toy-short", "--seed", 7, "--folder", tmp_path / "runs", "--page", page)
    done = run_process(sys.executable, INSTRUMENTS / "campaigns.py", *words, timeout_seconds=880)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = reliability.read(page)
    assert line.wrong == 0
    assert line.blows > 8
    assert line.ended > 4


@pytest.mark.timeout(600)
def test_every_campaign_finds_who_cheats(tmp_path: Path, run_process: RunProcess) -> None:
    """And finds nothing in one that does not."""
    done = run_process(sys.executable, INSTRUMENTS / "kill_campaign_of_cheats.py", tmp_path, timeout_seconds=580)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("keep") == {"operations": [], "disk": []}
    assert found["keep_in_place"]["operations"]
    assert found["keep_twice"]["operations"]
    assert any("lacks a part" in sentence for sentence in found["keep_and_say_little"]["disk"])
    assert found["keep_or_not"]["disk"]
    assert found["keep_and_say_little"]["operations"] == found["keep_or_not"]["operations"] == []
