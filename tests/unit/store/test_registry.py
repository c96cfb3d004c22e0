"""The shelf: versions, the pointer and its history, and what each of them refuses."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunewright.errors import CorruptError, GateError, InputError, MachineError
from tunewright.store.artifact import Draft
from tunewright.store.follow import Follower, Live
from tunewright.store.registry import Registry
from tunewright.store.run import RunFolder, is_run
from tunewright.store.version import verify

if TYPE_CHECKING:
    from conftest import StartProcess


def made(folder: Path, content: str = "weights", outcome: str = "better") -> Path:
    """A finished run with a small model, data and a result."""
    run = RunFolder.open(folder, create=True, identity=content, command=["tunewright", "run", "a.csv"])

    def fill(draft: Draft) -> None:
        draft.write_bytes("weights.bin", content.encode() * 100)

    run.commit_stage("model", f"model {content}", fill)
    run.commit_stage("data", f"data {content}", fill)
    run.write_document("recipe.yaml", "version: 1\n")
    run.write_document(
        "result.json",
        {"task": "classify", "model": {"name": "tiny"}, "verdict": {"outcome": outcome}, "hashes": {}, "名": content},
    )
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Registry:
    """A shelf with three versions of `reviews`, none of them live."""
    registry = Registry(tmp_path / "registry", create=True)
    for number in (1, 2, 3):
        registry.add("reviews", made(tmp_path / f"run-{number}", f"v{number}"), note=f"第{number}版")
    return registry


def live(shelf: Registry) -> int:
    return shelf.current("reviews").number


def actions(shelf: Registry) -> list[tuple[str, int]]:
    return [(event.action, event.number) for event in reversed(shelf.history("reviews"))]


def test_a_version_outlives_its_run(shelf: Registry, tmp_path: Path) -> None:
    shelf.promote("reviews", 2)
    for number in (1, 2, 3):
        shutil.rmtree(tmp_path / f"run-{number}")
    version = shelf.current("reviews")
    assert (version.number, version.verdict, version.task, version.base) == (2, "better", "classify", "tiny")
    assert version.note == "第2版"
    assert (version.model / "weights.bin").read_bytes() == b"v2" * 100
    assert is_run(version.folder)
    verify(version)


def test_versions_are_listed_newest_first_with_the_live_one(shelf: Registry, tmp_path: Path) -> None:
    shelf.add("re_iews", made(tmp_path / "other", "other"))
    shelf.promote("reviews", 1)
    assert [(each.number, each.state) for each in shelf.versions("reviews")] == [(3, "kept"), (2, "kept"), (1, "live")]
    assert {each.name for each in shelf.versions()} == {"reviews", "re_iews"}
    assert [each.name for each in shelf.versions("re_iews")] == ["re_iews"]


def test_rollback_goes_back_step_by_step(shelf: Registry) -> None:
    for number in (1, 2, 3):
        shelf.promote("reviews", number)
    assert shelf.rollback("reviews", reason="太慢").number == 2
    assert shelf.rollback("reviews").number == 1
    with pytest.raises(InputError, match="no other version"):
        shelf.rollback("reviews")
    shelf.promote("reviews", 3)
    assert shelf.rollback("reviews").number == 1
    assert [event.reason for event in shelf.history("reviews") if event.action == "rollback"] == ["", "", "太慢"]


def test_rollback_passes_over_removed_versions(shelf: Registry) -> None:
    for number in (1, 2, 3):
        shelf.promote("reviews", number)
    shelf.remove("reviews", 2)
    assert shelf.rollback("reviews").number == 1


def test_promoting_the_live_version_changes_nothing(shelf: Registry) -> None:
    shelf.promote("reviews", 1)
    shelf.promote("reviews", 1)
    assert actions(shelf) == [("add", 1), ("add", 2), ("add", 3), ("promote", 1)]


def test_the_live_version_is_never_removed(shelf: Registry) -> None:
    shelf.promote("reviews", 2)
    with pytest.raises(InputError, match="is live"):
        shelf.remove("reviews", 2)
    removed = shelf.remove("reviews", 1)
    assert (removed.state, removed.folder.exists()) == ("removed", False)
    with pytest.raises(InputError, match="has been removed"):
        shelf.promote("reviews", 1)
    assert shelf.version("reviews", 1).state == "removed"


def test_numbers_are_not_given_twice(shelf: Registry, tmp_path: Path) -> None:
    shelf.remove("reviews", 3)
    assert shelf.add("reviews", made(tmp_path / "run-4", "v4")).number == 4


def test_the_same_run_is_added_once(shelf: Registry, tmp_path: Path) -> None:
    assert shelf.add("reviews", tmp_path / "run-2", note="again").number == 2
    assert shelf.add("films", tmp_path / "run-2").number == 1
    assert len(shelf.versions("reviews")) == 3


@pytest.mark.parametrize("outcome", ["no evidence", "worse"])
def test_a_verdict_other_than_better_has_to_be_accepted(shelf: Registry, tmp_path: Path, outcome: str) -> None:
    run = made(tmp_path / "unsure", "unsure", outcome)
    with pytest.raises(GateError, match="not been shown") as refused:
        shelf.add("reviews", run)
    assert "--accept-verdict" in refused.value.hint
    shelf.add("reviews", run, accept_verdict=True)
    assert shelf.history("reviews")[0].reason == f"accepted with verdict: {outcome}"


@pytest.mark.parametrize("missing", ["model", "data", "result.json"])
def test_an_unfinished_run_is_refused(shelf: Registry, tmp_path: Path, missing: str) -> None:
    run = made(tmp_path / "run", "new")
    path = run / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    problem = "tuned, but not judged yet" if missing == "result.json" else "no tuned model yet"
    with pytest.raises(InputError, match=problem) as refused:
        shelf.add("reviews", run)
    assert refused.value.hint == "tunewright run a.csv"
    assert len(shelf.versions()) == 3


def test_damaged_files_are_refused(shelf: Registry, tmp_path: Path) -> None:
    run = made(tmp_path / "run", "new")
    (run / "model" / "weights.bin").write_bytes(b"x" * 300)
    with pytest.raises(CorruptError):
        shelf.add("reviews", run)
    (shelf.version("reviews", 3).folder / "recipe.yaml").write_bytes(b"\xff")
    with pytest.raises(CorruptError, match="damaged"):
        shelf.promote("reviews", 3)
    folder = shelf.version("reviews", 2).folder
    (folder / "result.json").write_bytes(b'{"hashes": {}}')
    with pytest.raises(CorruptError, match="damaged"):
        shelf.promote("reviews", 2)
    assert shelf.live("reviews") is None


def test_weights_that_were_not_judged_are_refused(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path / "run", create=True, identity="a")
    run.commit_stage("model", "a", lambda draft: draft.write_bytes("model.safetensors", b"other"))
    run.commit_stage("data", "a", lambda draft: draft.write_bytes("rows", b"rows"))
    run.write_document("result.json", {"verdict": {"outcome": "better"}, "hashes": {"weights": "0" * 64}})
    with (
        Registry(tmp_path / "registry", create=True) as shelf,
        pytest.raises(CorruptError, match="not those that were judged"),
    ):
        shelf.add("reviews", run.folder)


@pytest.mark.parametrize("name", ["", "Reviews", "../up", "a/b", "评论", "-x", "a" * 65, "a b", "a'; DROP TABLE event"])
def test_unsafe_names_are_refused(shelf: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        shelf.add(name, tmp_path / "run-1")


def test_what_is_not_there_is_named_with_what_is(shelf: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model of this name") as wrong:
        shelf.current("review")
    assert wrong.value.hint == "did you mean reviews?"
    with pytest.raises(InputError, match="no such version") as wrong:
        shelf.promote("reviews", 9)
    assert wrong.value.allowed == "3, 2, 1"
    with pytest.raises(InputError, match="no version is live"):
        shelf.current("reviews")
    with pytest.raises(InputError, match="no registry here"):
        Registry(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_promotion_may_depend_on_what_is_live(shelf: Registry) -> None:
    shelf.promote("reviews", 1)
    with pytest.raises(GateError, match="meanwhile"):
        shelf.promote("reviews", 3, instead_of=2)
    shelf.promote("reviews", 3, instead_of=1, detail={"p": 0.01})
    assert shelf.history("reviews")[0].detail == {"p": 0.01}


def test_a_copy_that_fails_leaves_nothing(shelf: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MachineError("the disk is full")

    monkeypatch.setattr("tunewright.store.version.link_artifact", fail)
    with pytest.raises(MachineError, match="full"):
        shelf.add("reviews", made(tmp_path / "run-4", "v4"))
    assert sorted(path.name for path in (tmp_path / "registry" / "models" / "reviews").iterdir()) == ["1", "2", "3"]
    monkeypatch.undo()
    assert shelf.add("reviews", tmp_path / "run-4").number == 4


def test_files_that_no_row_speaks_of_are_never_touched(shelf: Registry, tmp_path: Path) -> None:
    shelf.promote("reviews", 1)
    shelf.close()
    (tmp_path / "registry" / "registry.db").unlink()
    with Registry(tmp_path / "registry", create=True) as empty:
        assert empty.versions() == ()
        assert empty.add("reviews", tmp_path / "run-1").number == 4
    assert (tmp_path / "registry" / "models" / "reviews" / "1" / "result.json").is_file()


def test_a_newer_or_damaged_database_is_not_touched(tmp_path: Path) -> None:
    Registry(tmp_path / "newer", create=True).close()
    connection = sqlite3.connect(tmp_path / "newer" / "registry.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(MachineError, match="newer version"):
        Registry(tmp_path / "newer")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "registry.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(CorruptError, match="damaged"):
        Registry(tmp_path / "damaged")


def test_another_writer_is_waited_for_and_then_named(shelf: Registry, tmp_path: Path) -> None:
    impatient = Registry(tmp_path / "registry", wait_seconds=0.1)
    other = sqlite3.connect(tmp_path / "registry" / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MachineError, match="another process is writing"):
        impatient.promote("reviews", 1)
    other.execute("ROLLBACK")
    other.close()
    assert impatient.promote("reviews", 1).state == "live"
    impatient.close()


PROMOTING = """
import sys
from pathlib import Path
from tunewright.store.registry import Registry
shelf = Registry(Path(sys.argv[1]))
print("ready", flush=True)
for turn in range(8):
    shelf.promote("reviews", int(sys.argv[2]))
"""


def test_processes_that_promote_at_once_leave_one_line_of_history(shelf: Registry, start_process: StartProcess) -> None:
    shelf.promote("reviews", 1)
    processes = [start_process(sys.executable, "-c", PROMOTING, shelf.folder, number) for number in (2, 3)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (out, process.returncode) == ("ready\n", 0), err
    assert live(shelf) in (2, 3)
    moves = [number for action, number in actions(shelf) if action == "promote"]
    assert all(before != after for before, after in pairwise(moves))
    back = [live(shelf), *(shelf.rollback("reviews").number for _ in range(len(moves) - 1))]
    assert back == moves[::-1]


# ----------------------------------------------------------------------------------------------------------- followers


def test_a_follower_sees_each_change(shelf: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no version is live"):
        Follower(tmp_path / "registry", "reviews")
    shelf.promote("reviews", 1)
    follower = Follower(tmp_path / "registry", "reviews")
    first = follower()
    assert (first.number, first.folder) == (1, shelf.version("reviews", 1).model)
    assert follower() is first
    shelf.promote("reviews", 2)
    assert follower().number == 2
    shelf.rollback("reviews")
    assert follower() == first
    follower.close()


def test_a_follower_does_not_read_what_has_not_changed(
    shelf: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.promote("reviews", 1)
    follower = Follower(tmp_path / "registry", "reviews")
    looks: list[int] = []
    look = follower._look

    def counted() -> Live:
        looks.append(1)
        return look()

    monkeypatch.setattr(follower, "_look", counted)
    threads = [threading.Thread(target=lambda: [follower() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert looks == []
    shelf.promote("reviews", 2)
    assert [follower().number for _ in range(3)] == [2, 2, 2]
    assert looks == [1]
    follower.close()


def test_a_follower_goes_on_while_the_shelf_cannot_be_read(shelf: Registry, tmp_path: Path) -> None:
    shelf.promote("reviews", 1)
    follower = Follower(tmp_path / "registry", "reviews")
    shelf.close()
    (tmp_path / "registry" / "registry.db").write_bytes(b"gone " * 1000)
    assert follower().number == 1
    follower.close()


def test_the_history_is_plain_data(shelf: Registry) -> None:
    shelf.promote("reviews", 1, reason="更好", detail={"difference": 0.02})
    shelf.keep("reviews", "没有证据", {"num_rows": 12})
    newest = shelf.history("reviews")[0]
    assert (newest.action, newest.number, newest.reason) == ("keep", 1, "没有证据")
    assert json.loads(json.dumps(dict(newest.detail))) == {"num_rows": 12}
