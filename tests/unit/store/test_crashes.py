"""The enumerator of crash states against states counted by hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from crashes import Tree, crash_states, materialise, read_tree
from recording import FailingDisk, Killed, Mark, RecordingDisk
from tunewright.store.disk import LocalDisk, Operation, disk, using

ROOT = Path("/root")
FILE = ROOT / "f"


def trees(*log: Operation | Mark, before: Tree | None = None) -> set[frozenset[tuple[str, bytes | None]]]:
    return {frozenset(state.tree.items()) for state in crash_states(log, ROOT, before=before)}


def expected(*found: Tree) -> set[frozenset[tuple[str, bytes | None]]]:
    return {frozenset(tree.items()) for tree in found}


def test_an_unsynced_file_may_be_absent_empty_cut_or_zero() -> None:
    log = (Operation("create", FILE), Operation("write", FILE, content=b"abcd"))
    contents = [b"", b"abcd", b"ab", b"\0\0\0\0", b"ab\0\0", b"\0\0cd"]
    assert trees(*log) == expected({}, *({"f": content} for content in contents))


def test_long_files_are_cut_at_sectors() -> None:
    log = (Operation("create", FILE), Operation("write", FILE, content=b"x" * 1300))
    lengths = {len(content) for tree in trees(*log) for _, content in tree if content and b"\0" not in content}
    assert lengths == {512, 650, 1024, 1300}


def test_syncs_take_states_away() -> None:
    log = (
        Operation("create", FILE),
        Operation("write", FILE, content=b"ab"),
        Operation("sync_file", FILE, content=b"ab"),
        Mark("file"),
        Operation("sync_folder", ROOT),
        Mark("folder"),
    )
    states = list(crash_states(log, ROOT))
    assert {frozenset(s.tree.items()) for s in states if s.marks == ("file",)} == expected({}, {"f": b"ab"})
    assert [s.tree for s in states if s.marks == ("file", "folder")] == [{"f": b"ab"}]


def test_a_rename_may_be_undone_but_never_half_done() -> None:
    before: Tree = {"new": b"2", "old": b"1"}
    found = trees(Operation("rename", ROOT / "new", target=ROOT / "old"), before=before)
    assert found == expected(before, {"old": b"2"})


def test_unsynced_changes_of_a_folder_happen_in_any_combination() -> None:
    before: Tree = {"a": b"1", "b": b"2"}
    found = trees(Operation("unlink", ROOT / "a"), Operation("unlink", ROOT / "b"), before=before)
    assert found == expected(before, {"a": b"1"}, {"b": b"2"}, {})


def test_a_lost_folder_takes_its_content_along() -> None:
    log = (
        Operation("mkdir", ROOT / "d"),
        Operation("create", ROOT / "d" / "f"),
        Operation("sync_folder", ROOT / "d"),
        Operation("rename", ROOT / "d", target=ROOT / "e"),
    )
    assert trees(*log) == expected({}, {"d": None}, {"d": None, "d/f": b""}, {"e": None, "e/f": b""})


def test_names_of_one_file_share_its_content() -> None:
    before: Tree = {"f": b"1"}
    assert trees(Operation("link", FILE, target=ROOT / "g"), before=before) == expected(before, {"f": b"1", "g": b"1"})


def test_a_file_of_another_library_is_unsynced_until_its_sync() -> None:
    found = trees(Operation("sync_file", FILE, content=b"ab"))
    assert found >= expected({}, {"f": b""}, {"f": b"a"}, {"f": b"ab"}, {"f": b"\0\0"})


def test_writing_in_place_is_refused() -> None:
    with pytest.raises(AssertionError, match="in place"):
        trees(Operation("sync_file", FILE, content=b"new"), before={"f": b"old"})


def test_too_many_combinations_are_bounded_and_the_same_each_time() -> None:
    log = [Operation("create", ROOT / f"{number}") for number in range(12)]
    first = [state.tree for state in crash_states(log, ROOT, limit=20)]
    assert first == [state.tree for state in crash_states(log, ROOT, limit=20)]
    assert 12 < len(first) <= 12 * 20
    assert {} in first
    assert {f"{number}": b"" for number in range(12)} in first


def test_a_recorded_log_ends_in_the_tree_that_is_on_the_disk(tmp_path: Path) -> None:
    """The model of the file system against the real one."""
    root = tmp_path / "root"
    root.mkdir()
    recorder = RecordingDisk()
    with using(recorder):
        recorder.make_folder(root / "d")
        recorder.write_new(root / "d" / "f", b"1" * 700)
        recorder.link(root / "d" / "f", root / "g")
        recorder.append(root / "g", b"2")
        recorder.copy(root / "g", root / "h")
        recorder.rename(root / "d", root / "e")
        recorder.unlink(root / "h")
        recorder.make_folder(root / "gone")
        recorder.remove_folder(root / "gone")
        recorder.sync_folder(root)
        recorder.sync_folder(root / "e")
        recorder.mark("all synced")
    (last,) = [state for state in crash_states(recorder.log, root) if state.marks]
    assert dict(last.tree) == dict(read_tree(root))
    (tmp_path / "again").mkdir()
    materialise(last.tree, tmp_path / "again")
    assert dict(read_tree(tmp_path / "again")) == dict(last.tree)


def test_a_killed_disk_stays_dead(tmp_path: Path) -> None:
    recorder = RecordingDisk(kill_at=2)
    with pytest.raises(Killed):
        recorder.write_new(tmp_path / "f", b"1")
    with pytest.raises(Killed):
        recorder.unlink(tmp_path / "f")
    assert read_tree(tmp_path) == {"f": b""}


def test_a_failing_write_is_torn(tmp_path: Path) -> None:
    failing = FailingDisk(2, 28)
    with pytest.raises(OSError, match="No space"):
        failing.write_new(tmp_path / "f", b"1234")
    assert read_tree(tmp_path) == {"f": b"12"}
    failing.unlink(tmp_path / "f")
    assert failing.num_failures == 1


def test_disks_are_swapped_for_a_block_only(tmp_path: Path) -> None:
    outer = disk()
    inner = RecordingDisk()
    with suppress(RuntimeError), using(inner):
        assert disk() is inner
        raise RuntimeError
    assert disk() is outer
    assert isinstance(outer, LocalDisk)
