"""Events: lines of JSON that survive a torn end, and a resume that takes back what was lost."""

from __future__ import annotations

import errno
import json
from datetime import datetime
from pathlib import Path

import pytest

from recording import FailingDisk, RecordingDisk
from tunewright.errors import MachineError
from tunewright.store.disk import Operation, using
from tunewright.store.events import EventLog, now_utc


def log_at(folder: Path, batch_size: int = 1) -> EventLog:
    return EventLog(
        folder / "events.jsonl", batch_size=batch_size, flush_seconds=1e9, now=lambda: "2026-01-01T00:00:00Z"
    )


def test_a_line_is_one_json_object_with_time_and_kind(tmp_path: Path) -> None:
    log_at(tmp_path).append("note", text="换行\n不换", count=3)
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "note", "time": "2026-01-01T00:00:00Z", "text": "换行\n不换", "count": 3}
    ]


def test_the_time_is_utc() -> None:
    stamp = datetime.fromisoformat(now_utc())
    assert stamp.utcoffset() is not None
    assert not stamp.utcoffset()


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    log_at(tmp_path).append("step", step=1, loss=float("nan"), more={"norms": [float("inf"), 2.0]})
    event = log_at(tmp_path).read()[0]
    assert event["loss"] is None
    assert event["more"] == {"norms": [None, 2.0]}


def test_batches_are_flushed_by_number_by_age_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    with log_at(tmp_path, batch_size=3) as log:
        log.append("step", step=1)
        log.append("step", step=2)
        assert not path.exists()
        assert [event["step"] for event in log.read("step")] == [1, 2]
        log.append("step", step=3)
        assert len(path.read_bytes().splitlines()) == 3
        log.append("step", step=4)
    assert len(path.read_bytes().splitlines()) == 4
    clock = iter([100.0, 101.0, 106.0])
    monkeypatch.setattr("tunewright.store.events.time.monotonic", lambda: next(clock))
    aged = EventLog(path, batch_size=100, flush_seconds=5)
    aged.append("step", step=5)
    assert len(path.read_bytes().splitlines()) == 4
    aged.append("step", step=6)
    assert len(path.read_bytes().splitlines()) == 6


def test_one_flush_is_one_sync_of_the_file(tmp_path: Path) -> None:
    log_at(tmp_path).append("first")
    recorder = RecordingDisk()
    with using(recorder), log_at(tmp_path, batch_size=50) as log:
        for step in range(50):
            log.append("step", step=step)
    kinds = [entry.kind for entry in recorder.log if isinstance(entry, Operation)]
    assert kinds == ["sync_folder", "write", "sync_file"]


@pytest.mark.parametrize(
    "torn", [b'{"kind":"st', b"\0" * 40, b"\0" * 20 + b'"}\n', b'{"kind": 3}\n', b"\xff\xfe\n", b"[1]\n", b"{" * 50]
)
def test_a_torn_end_is_not_read_and_left_behind_by_the_next_append(tmp_path: Path, torn: bytes) -> None:
    log_at(tmp_path).append("step", step=1)
    path = tmp_path / "events.jsonl"
    sound = path.read_bytes()
    path.write_bytes(sound + torn)
    assert [event["step"] for event in log_at(tmp_path).read()] == [1]
    assert path.read_bytes() == sound + torn, "reading must not write"
    log_at(tmp_path).append("step", step=2)
    assert [json.loads(line)["step"] for line in path.read_bytes().splitlines()] == [1, 2]


def test_each_cut_of_the_last_line_leaves_the_lines_before(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    log.append("step", step=1)
    path = tmp_path / "events.jsonl"
    first = len(path.read_bytes())
    log.append("step", step=2)
    whole = path.read_bytes()
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert [event["step"] for event in log_at(tmp_path).read()] == [1]


def test_a_resume_takes_back_later_steps_and_keeps_the_rest(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    for step in (1, 2, 3, 4):
        log.append("step", step=step, loss=float(step))
        log.append("evaluation", step=step)
    log.append("note", step=4, text="kept")
    log.rewind(2)
    log.append("step", step=3, loss=30.0)
    assert [event["step"] for event in log.read("step")] == [1, 2, 3]
    assert log.read("step")[-1]["loss"] == 30.0
    assert [event["step"] for event in log.read("evaluation")] == [1, 2]
    assert [event["text"] for event in log.read("note")] == ["kept"]
    assert [event["step"] for event in log.read("resumed")] == [2]
    log.rewind(0)
    assert log.read("step") == log.read("evaluation") == []
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) == 12, "nothing is erased"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_events_wait_for_the_next_flush_and_appear_once(tmp_path: Path, error: int) -> None:
    log = log_at(tmp_path, batch_size=100)
    log.append("step", step=1)
    log.flush()
    log.append("step", step=2)
    before = (tmp_path / "events.jsonl").stat().st_ino
    for fail_at in (1, 2):
        with using(FailingDisk(fail_at, error)), pytest.raises(MachineError):
            log.flush()
    log.append("step", step=3)
    log.flush()
    assert [event["step"] for event in log_at(tmp_path).read()] == [1, 2, 3]
    assert (tmp_path / "events.jsonl").stat().st_ino != before, "written afresh, not synced again"
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


def test_an_absent_log_is_empty(tmp_path: Path) -> None:
    assert log_at(tmp_path).read() == []
    log_at(tmp_path).flush()
    assert list(tmp_path.iterdir()) == []
