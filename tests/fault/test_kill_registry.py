"""N14: a shelf that is killed at any moment opens with whole versions and a valid pointer, and forgets nothing it confirmed."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunewright.store.registry import Registry
from tunewright.store.version import verify

if TYPE_CHECKING:
    from conftest import StartProcess

CAMPAIGN = Path(__file__).with_name("registry_campaign.py")
Events = list[tuple[str, int]]


def happened(folder: Path) -> Events:
    """Everything in the log, the oldest first; and a proof that the shelf is what its log says."""
    with Registry(folder / "registry", create=True) as shelf:
        versions = shelf.versions()
        if not versions:
            return []
        events = [(event.action, event.number) for event in reversed(shelf.history("reviews"))]
        added, removed = ({number for action, number in events if action == kind} for kind in ("add", "remove"))
        assert {version.number for version in versions} == added - removed
        for version in versions:
            verify(version)
        files = {path.name for path in (folder / "registry" / "models" / "reviews").iterdir()}
        assert files == {str(version.number) for version in versions}
        moves = [number for action, number in events if action in ("promote", "rollback")]
        live = shelf.live("reviews")
        assert (live and live.number) == (moves[-1] if moves else None)
        assert live is None or live.number in added - removed
    return events


def campaign(folder: Path, start_process: StartProcess, num_kills: int, seed: int) -> set[str]:
    """Kill processes at a drawn step or moment, and look after each; gives what they were killed at."""
    draw = random.Random(seed)
    before: Events = []
    killed_at = set()
    for turn in range(num_kills):
        steps = draw.randint(1, 160) if turn % 2 else 0
        process = start_process(sys.executable, CAMPAIGN, folder, seed * 1000 + turn, steps)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if not steps:
            time.sleep(draw.uniform(0.0, 0.6))
            process.kill()
        out, err = process.communicate(timeout=60)
        assert process.returncode == -9, err
        lines = [line.split() for line in out.splitlines()]
        under_way = lines[-1][1] if lines and lines[-1][0] == "begin" else ""
        confirmed = list(before)
        for word, kind, *number in lines:
            if word == "done" and not _is_live_already(confirmed, kind, int(number[0])):
                confirmed.append((kind, int(number[0])))
        after = happened(folder)
        assert after[: len(confirmed)] == confirmed, (before, lines, after)
        assert [kind for kind, _ in after[len(confirmed) :]] in ([], [under_way])
        killed_at.add(under_way)
        before = after
    return killed_at


def _is_live_already(events: Events, kind: str, number: int) -> bool:
    """Promoting the version that is live is confirmed, but leaves no event."""
    moves = [moved for action, moved in events if action in ("promote", "rollback")]
    return kind == "promote" and moves[-1:] == [number]


@pytest.mark.timeout(120)
def test_twelve_kills_leave_a_valid_shelf(tmp_path: Path, start_process: StartProcess) -> None:
    assert campaign(tmp_path, start_process, 12, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_and_fifty_kills_leave_a_valid_shelf(tmp_path: Path, start_process: StartProcess) -> None:
    assert {"add", "promote", "remove"} <= campaign(tmp_path, start_process, 150, seed=7)
