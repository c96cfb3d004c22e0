"""Documents, folders, trees: replaced whole, removed without following links, failures told in four parts."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from recording import FailingDisk, RecordingDisk
from tunewright.errors import MachineError
from tunewright.store import durable
from tunewright.store.disk import LocalDisk, Operation, disk, using


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Modes must not depend on the user's umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kinds(recorder: RecordingDisk) -> list[str]:
    return [entry.kind for entry in recorder.log if isinstance(entry, Operation)]


def test_a_document_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "新" / "result.json"
    durable.replace_document(path, b"old")
    with path.open("rb") as reader:
        durable.replace_document(path, "新的".encode())
        assert reader.read() == b"old"
    assert path.read_text(encoding="utf-8") == "新的"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert names(path.parent) == ["result.json"]


def test_a_document_takes_the_published_order_of_operations(tmp_path: Path) -> None:
    recorder = RecordingDisk()
    with using(recorder):
        durable.replace_document(tmp_path / "a", b"1")
    assert kinds(recorder) == ["sync_folder", "create", "write", "sync_file", "rename", "sync_folder"]


@pytest.mark.parametrize(
    ("code", "problem", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EDQUOT, "the disk is full", "free some space"),
        (errno.EROFS, "read-only", "another folder"),
        (errno.EACCES, "not permitted", "owner"),
        (errno.EIO, "the drive failed", "dmesg"),
        (errno.EMFILE, "too many files", "ulimit"),
        (errno.ELOOP, "the file operation failed", "look at the path"),
    ],
)
def test_a_failure_has_four_parts_and_leaves_the_old_document(
    tmp_path: Path, code: int, problem: str, hint: str
) -> None:
    path = tmp_path / "result.json"
    durable.replace_document(path, b"old")
    with using(FailingDisk(3, code)), pytest.raises(MachineError, match=problem) as caught:
        durable.replace_document(path, b"new")
    assert caught.value.where == str(path)
    assert str(caught.value.given).startswith(errno.errorcode[code])
    assert caught.value.allowed
    assert hint in caught.value.hint
    assert "same command again" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.json"]


def test_nothing_is_created_over_a_file_or_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("there", "link"):
        with pytest.raises(FileExistsError):
            disk().write_new(tmp_path / name, b"x")
    with pytest.raises(OSError, match="symbolic"):
        disk().append(tmp_path / "link", b"x")
    assert (tmp_path / "there").read_bytes() == b"mine"
    assert not (tmp_path / "target").exists()


def test_a_tree_is_removed_and_its_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"1")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_bytes(b"1")
    (tree / "link").symlink_to(outside, target_is_directory=True)
    durable.remove_tree(tree)
    durable.remove_tree(tree)
    (tmp_path / "link").symlink_to(outside, target_is_directory=True)
    durable.remove_tree(tmp_path / "link")
    assert names(tmp_path) == ["outside"]
    assert (outside / "kept").read_bytes() == b"1"


def test_only_our_own_orphans_are_removed(tmp_path: Path) -> None:
    private = durable.private_path(tmp_path)
    private.mkdir()
    (private / "half").write_bytes(b"1")
    durable.private_path(tmp_path).write_bytes(b"1")
    for name in (".tmp-notes", ".tmpfile", "data", f"x{private.name}"):
        (tmp_path / name).write_bytes(b"")
    assert durable.remove_orphans(tmp_path) == 2
    assert durable.remove_orphans(tmp_path / "absent") == 0
    assert names(tmp_path) == sorted([".tmp-notes", ".tmpfile", "data", f"x{private.name}"])


def test_other_errors_of_a_filling_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), durable.filling(tmp_path):
        (tmp_path / "the user's file").read_bytes()
    with pytest.raises(RuntimeError, match="unrelated"), durable.filling(tmp_path):
        raise RuntimeError("unrelated (os error 2)")


class WithoutSync(LocalDisk):
    """A drive whose syncs fail once; it notes on which files it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def flush(self, descriptor: int) -> None:
        self.asked.append(os.fstat(descriptor).st_ino)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_failed_sync_is_never_repeated_on_the_same_file(tmp_path: Path) -> None:
    failing = WithoutSync()
    for _ in range(3):
        with using(failing), pytest.raises(OSError, match="Input/output"):
            disk().write_new(durable.private_path(tmp_path), b"x")
    assert len(set(failing.asked)) == len(failing.asked) == 3


def test_a_folder_sync_that_the_file_system_does_not_know_is_passed_over(tmp_path: Path) -> None:
    class Unknown(LocalDisk):
        def flush(self, descriptor: int) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    Unknown().sync_folder(tmp_path)
    with pytest.raises(OSError, match="Invalid"):
        Unknown().write_new(tmp_path / "file", b"x")


def test_the_local_disk_syncs_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the operating system's own fsync: each named step reaches the inode in question."""
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("tunewright.store.disk.fcntl", None)
    path = tmp_path / "file"
    disk().write_new(path, b"1")
    disk().append(path, b"2")
    disk().sync_file(path)
    disk().sync_folder(tmp_path)
    disk().copy(path, tmp_path / "copy")
    assert synced == [path.stat().st_ino] * 3 + [tmp_path.stat().st_ino, (tmp_path / "copy").stat().st_ino]
    assert (tmp_path / "copy").read_bytes() == b"12"


def test_macos_syncs_past_the_cache_of_the_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class FakeFcntl:
        F_FULLFSYNC = 51

        @staticmethod
        def fcntl(descriptor: int, command: int) -> None:
            asked.append(command)
            if len(asked) == 2:
                raise OSError(errno.ENOTSUP, "not on this volume")
            if len(asked) == 3:
                raise OSError(errno.EIO, "broken")

    plain: list[int] = []
    monkeypatch.setattr("tunewright.store.disk.fcntl", FakeFcntl)
    monkeypatch.setattr(os, "fsync", plain.append)
    disk().write_new(tmp_path / "1", b"")
    assert (asked, len(plain)) == ([51], 0)
    disk().write_new(tmp_path / "2", b"")
    assert (asked, len(plain)) == ([51, 51], 1)
    with pytest.raises(OSError, match="broken"):
        disk().write_new(tmp_path / "3", b"")
    assert len(plain) == 1
