"""Checkpoints: the newest that verifies is found, the best is kept, and nothing acknowledged is passed over in silence."""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recording import FailingDisk, RecordingDisk
from tunewright.errors import MachineError
from tunewright.store.artifact import Draft
from tunewright.store.checkpoints import LOG, CheckpointStore, Commit
from tunewright.store.disk import Operation, using
from tunewright.store.manifest import MANIFEST


def fill(step: int) -> Callable[[Draft], None]:
    return lambda draft: draft.write_bytes("weights.safetensors", f"weights after {step}".encode())


def trained(folder: Path, metrics: list[float | None], keep_last: int = 1) -> tuple[CheckpointStore, list[Commit]]:
    """A store with one commit per metric, at steps 10, 20, ..."""
    store = CheckpointStore(folder, identity="run", keep_last=keep_last)
    commits = [store.commit(10 * n, fill(10 * n), {"n": n}, metric) for n, metric in enumerate(metrics, start=1)]
    return store, commits


def steps(folder: Path) -> list[int]:
    return [commit.step for commit in CheckpointStore(folder).commits()]


def test_a_commit_says_what_was_saved(tmp_path: Path) -> None:
    store, (commit,) = trained(tmp_path / "检查点", [0.5])
    assert (commit.number, commit.step, commit.metric, commit.position) == (1, 10, 0.5, {"n": 1})
    assert (commit.folder / "weights.safetensors").read_bytes() == b"weights after 10"
    assert commit.num_bytes == len(b"weights after 10")
    assert store.latest() == store.best() == commit == CheckpointStore(tmp_path / "检查点").latest()
    assert store.findings() == ()


def test_an_empty_store_has_nothing_and_writes_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "none")
    assert store.latest() is None
    assert store.best() is None
    assert store.commits() == ()
    assert store.findings() == ()
    store.recover()
    assert list(tmp_path.iterdir()) == []


def test_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    store, _ = trained(tmp_path, [0.5, 0.9, 0.7, 0.9, None, float("nan")])
    assert steps(tmp_path) == [20, 60]
    latest, best = store.latest(), store.best()
    assert latest is not None
    assert best is not None
    assert (latest.step, latest.metric) == (60, None)
    assert (best.step, best.metric) == (20, 0.9)


def test_the_smallest_can_be_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step, loss in enumerate([0.9, 0.3, 0.5], start=1):
        store.commit(step, fill(step), metric=loss, keep_best="min")
    best = store.best()
    assert best is not None
    assert best.step == 2
    assert steps(tmp_path) == [2, 3]


def test_more_of_the_last_can_be_kept(tmp_path: Path) -> None:
    trained(tmp_path, [0.9, 0.1, 0.2, 0.3, 0.4], keep_last=3)
    assert steps(tmp_path) == [10, 30, 40, 50]


def test_retention_agrees_with_a_plain_model_over_random_histories(tmp_path: Path) -> None:
    generator = random.Random(5)
    with using(RecordingDisk()):
        for history in range(30):
            folder = tmp_path / str(history)
            metrics = [generator.choice([None, 0.1, 0.2, 0.3]) for _ in range(8)]
            last = generator.randint(1, 3)
            trained(folder, metrics, last)
            kept: list[int] = []
            for number in range(len(metrics)):
                kept.append(number)
                measured = [n for n in kept if metrics[n] is not None]
                best = max(measured, key=lambda n: (metrics[n] or 0, -n), default=None)
                kept = [n for n in kept if n in kept[-last:] or n == best]
            assert steps(folder) == [10 * (n + 1) for n in kept]


def test_numbers_go_on_after_a_restart_and_decide_the_order(tmp_path: Path) -> None:
    trained(tmp_path, [0.5, 0.6])
    later = CheckpointStore(tmp_path, identity="run").commit(5, fill(5), metric=0.1)
    assert later.number == 3
    assert CheckpointStore(tmp_path).latest() == later, "by commit number, not by step"


def test_the_log_has_one_checksummed_line_per_commit(tmp_path: Path) -> None:
    _, commits = trained(tmp_path, [0.5, 0.6, 0.7])
    entries = [json.loads(line.partition(b" ")[2]) for line in (tmp_path / LOG).read_bytes().splitlines()]
    assert [(entry["number"], entry["digest"]) for entry in entries] == [(c.number, c.digest) for c in commits]


# ------------------------------------------------------------------------------------------------------------ damage


def test_a_damaged_newest_falls_back_and_is_told(tmp_path: Path) -> None:
    store, commits = trained(tmp_path, [0.9, 0.1])
    path = commits[1].folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[::-1])
    assert store.latest() == commits[0]
    assert len(store.findings()) == 2
    assert str(path) in store.findings()[0]
    assert "commit 2 was acknowledged" in store.findings()[1]


def test_a_newest_that_is_gone_is_told(tmp_path: Path) -> None:
    store, commits = trained(tmp_path, [0.9, 0.1])
    shutil.rmtree(commits[1].folder)
    assert store.latest() == commits[0]
    assert store.findings() == ("commit 2 was acknowledged, but its folder is gone or damaged",)


def test_a_damaged_best_gives_way_to_the_next(tmp_path: Path) -> None:
    store, commits = trained(tmp_path, [0.9, 0.1])
    (commits[0].folder / MANIFEST).write_bytes(b"{}")
    assert store.best() == commits[1]


def test_each_cut_of_the_log_leaves_the_newest_commit(tmp_path: Path) -> None:
    """The log is the witness; the folder itself proves that the commit is whole."""
    _, commits = trained(tmp_path, [0.5, 0.6])
    path = tmp_path / LOG
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert CheckpointStore(tmp_path).latest() == commits[-1]
    path.unlink()
    assert CheckpointStore(tmp_path).latest() == commits[-1]


def test_a_torn_log_is_mended_by_the_next_commit(tmp_path: Path) -> None:
    trained(tmp_path, [0.5, 0.6])
    path = tmp_path / LOG
    path.write_bytes(path.read_bytes()[:-9])
    commit = CheckpointStore(tmp_path, identity="run").commit(30, fill(30))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 2
    assert commit.number == 3
    assert CheckpointStore(tmp_path).findings() == ()


def test_commits_of_another_run_are_not_seen(tmp_path: Path) -> None:
    _, (commit,) = trained(tmp_path / "a", [0.5])
    other = CheckpointStore(tmp_path / "b", identity="another run")
    other.commit(1, fill(1), metric=0.1)
    shutil.copytree(commit.folder, tmp_path / "b" / "000009-0123abcd")
    latest = other.latest()
    assert latest is not None
    assert latest.step == 1


def test_a_folder_with_other_content_than_acknowledged_is_refused(tmp_path: Path) -> None:
    store, (first,) = trained(tmp_path / "a", [0.5])
    _, (other,) = trained(tmp_path / "b", [0.4])
    shutil.rmtree(first.folder)
    shutil.copytree(other.folder, first.folder)
    assert store.latest() is None
    assert store.findings() == (f"commit 1 is not the one that was acknowledged ({first.folder})",)


def test_orphans_are_removed_by_the_first_commit(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123456789abcdef").mkdir()
    trained(tmp_path, [0.5])
    assert not list(tmp_path.glob(".tmp-*"))


# ---------------------------------------------------------------------------------------------------------- failures


def test_a_failed_log_line_is_not_synced_again_but_written_afresh(tmp_path: Path) -> None:
    store, _ = trained(tmp_path, [0.9, 0.1])
    inode = (tmp_path / LOG).stat().st_ino

    class FailingLog(RecordingDisk):
        def step(self, operation: Operation) -> None:
            if operation.kind == "sync_file" and operation.path.name == LOG:
                raise OSError(errno.EIO, "the drive is gone")

    with using(FailingLog()), pytest.raises(MachineError, match="the drive failed"):
        store.commit(30, fill(30), metric=0.2)
    assert 20 in steps(tmp_path), "what was acknowledged is not pruned for what was not"
    store.commit(40, fill(40), metric=0.2)
    assert (tmp_path / LOG).stat().st_ino != inode
    entries = [json.loads(line.partition(b" ")[2])["step"] for line in (tmp_path / LOG).read_bytes().splitlines()]
    assert entries == [10, 20, 40]


def test_a_failure_while_pruning_is_made_good_by_the_next_commit(tmp_path: Path) -> None:
    store, _ = trained(tmp_path, [0.9, 0.1])
    with using(FailingDisk(1, errno.EIO, kinds=("unlink",))):
        store.commit(30, fill(30), metric=0.2)
    with using(FailingDisk(2, errno.EIO, kinds=("rename",))):
        store.commit(40, fill(40), metric=0.2)
    assert steps(tmp_path) == [10, 30, 40]
    store.commit(50, fill(50), metric=0.2)
    assert steps(tmp_path) == [10, 50]
