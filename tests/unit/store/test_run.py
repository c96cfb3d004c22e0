"""Run folders: one identity, one owner, stages shared between siblings, documents replaced whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.store.artifact import Draft
from tunewright.store.run import RunFolder, sibling_runs


def opened(folder: Path, identity: str = "id-1") -> RunFolder:
    return RunFolder.open(
        folder, create=True, identity=identity, command=["run", "评论.csv"], versions={"torch": "2.13"}
    )


def counted(fills: list[str], name: str = "x") -> Callable[[Draft], None]:
    def fill(draft: Draft) -> None:
        fills.append(name)
        draft.write_bytes("数据.arrow", b"rows" * 100)

    return fill


def test_a_new_run_says_what_it_is(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs" / "电影")
    noted = json.loads((run.folder / "run.json").read_bytes())
    assert noted["identity"] == run.identity == "id-1"
    assert noted["command"] == ["run", "评论.csv"]
    assert run.versions["torch"] == "2.13"
    assert "python" in run.versions
    assert datetime.fromisoformat(run.created).utcoffset() is not None
    assert RunFolder.open(run.folder) == opened(run.folder) == run


def test_stages_are_dropped_for_good_and_links_to_them_stay(tmp_path: Path) -> None:
    fills: list[str] = []
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second", "id-2")
    first.commit_stage("model", "key", counted(fills))
    second.commit_stage("model", "key", counted(fills))
    first.drop("model", "checkpoints", "model")
    assert fills == ["x"]
    assert sorted(path.name for path in first.folder.iterdir()) == ["run.json"]
    kept = second.open_stage("model", "key")
    assert kept is not None
    with pytest.raises(ValueError, match=r"\.\."):
        first.drop("../second")


def test_another_identity_is_refused(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    with pytest.raises(InputError, match="another run") as caught:
        opened(run.folder, "id-2")
    assert "--out" in caught.value.hint
    assert RunFolder.open(run.folder).identity == "id-1"


def test_an_absent_run_is_refused_unless_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        RunFolder.open(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match="other files") as caught:
        opened(tmp_path)
    assert "thesis.txt" in str(caught.value.given)
    with pytest.raises(InputError, match="folder itself"):
        opened(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_start_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123456789abcdef").write_bytes(b"half of run.json")
    (tmp_path / ".lock").write_bytes(b"")
    with opened(tmp_path).lock():
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "run.json"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"identity": 3}', b"\0" * 100])
def test_a_damaged_description_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(CorruptError, match="damaged"):
        RunFolder.open(tmp_path)


# ------------------------------------------------------------------------------------------------------------ stages


def test_a_stage_is_made_once(tmp_path: Path) -> None:
    run, fills = opened(tmp_path / "run"), list[str]()
    first = run.commit_stage("data", "key", counted(fills), {"rows": 3})
    assert run.commit_stage("data", "key", counted(fills)) == run.open_stage("data", "key") == first
    assert fills == ["x"]
    assert run.open_stage("data", "other") is None
    assert first.folder == run.stage("data")


def test_a_sibling_s_stage_is_linked_in_and_outlives_it(tmp_path: Path) -> None:
    fills: list[str] = []
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b", "id-2")
    made = first.commit_stage("data", "key", counted(fills), {"rows": 3})
    taken = second.commit_stage("data", "key", counted(fills, "again"))
    assert fills == ["x"]
    assert taken.digest == made.digest
    assert taken.facts == {"rows": 3}
    assert (taken.folder / "数据.arrow").samefile(made.folder / "数据.arrow")
    shutil.rmtree(first.folder)
    assert second.open_stage("data", "key") == taken


def test_a_sibling_s_stage_under_another_key_is_not_taken(tmp_path: Path) -> None:
    fills: list[str] = []
    opened(tmp_path / "a").commit_stage("data", "key", counted(fills, "a"))
    opened(tmp_path / "b", "id-2").commit_stage("data", "new key", counted(fills, "b"))
    assert fills == ["a", "b"]


@pytest.mark.parametrize("place", ["link", "no run", "hidden", "damaged"])
def test_what_is_no_sound_sibling_is_passed_over(tmp_path: Path, place: str) -> None:
    fills: list[str] = []
    other = opened(tmp_path / "elsewhere" / "a")
    made = other.commit_stage("data", "key", counted(fills, "a"))
    runs = tmp_path / "runs"
    runs.mkdir()
    if place == "link":
        (runs / "a").symlink_to(other.folder, target_is_directory=True)
    else:
        shutil.copytree(other.folder, runs / (".tmp-a" if place == "hidden" else "a"))
    if place == "no run":
        (runs / "a" / "run.json").unlink()
    if place == "damaged":
        (runs / "a" / "data" / "数据.arrow").write_bytes(b"r0ws" * 100)
    taken = opened(runs / "b", "id-2").commit_stage("data", "key", counted(fills, "b"))
    assert fills == ["a", "b"]
    assert taken.digest != made.digest or taken.facts == made.facts


def test_a_damaged_stage_is_told_when_opened_and_mended_when_committed(tmp_path: Path) -> None:
    fills: list[str] = []
    run = opened(tmp_path / "run")
    made = run.commit_stage("data", "key", counted(fills))
    (made.folder / "数据.arrow").write_bytes(b"r0ws" * 100)
    with pytest.raises(CorruptError):
        run.open_stage("data", "key")
    assert run.commit_stage("data", "key", counted(fills)) == made
    assert fills == ["x", "x"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "Data", ".tmp-1", "checkpoints", "数据", "a\n"])
def test_names_of_stages_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name for a stage"):
        opened(tmp_path / "run").stage(name)


def test_siblings_need_a_parent_that_is_there(tmp_path: Path) -> None:
    assert sibling_runs(tmp_path / "no" / "run") == []


# --------------------------------------------------------------------------------------------- documents, lock, parts


def test_documents_are_text_bytes_or_json(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    assert run.write_document("report.html", "<p>报告</p>").read_text(encoding="utf-8") == "<p>报告</p>"
    assert run.write_document("figure.png", b"\x89PNG").read_bytes() == b"\x89PNG"
    run.write_document("result.json", {"verdict": "better", "文": [1]})
    assert run.read_json("result.json") == {"verdict": "better", "文": [1]}
    assert run.read_json("absent.json") is None
    with pytest.raises(ValueError, match="JSON"):
        run.write_document("result.json", {"x": float("nan")})
    with pytest.raises(ValueError, match="safe file name"):
        run.write_document("../result.json", "")
    assert run.read_json("result.json") == {"verdict": "better", "文": [1]}


def test_one_process_owns_a_run(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    with run.lock():
        with pytest.raises(MachineError, match="another process"), RunFolder.open(run.folder).lock():
            pass
        assert run.read_json("run.json") is not None, "reading needs no lock"


def test_owning_a_run_cleans_up_behind_a_killed_one(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    run.checkpoints().commit(1, lambda draft: draft.write_bytes("w", b"1"))
    for folder in (run.folder, run.folder / "checkpoints"):
        (folder / ".tmp-0123456789abcdef").mkdir()
    with run.lock():
        assert not list(run.folder.rglob(".tmp-*"))


def test_a_run_that_became_another_is_not_owned(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    shutil.rmtree(run.folder)
    opened(run.folder, "id-2")
    with pytest.raises(InputError, match="another run"), run.lock():
        pass


def test_checkpoints_and_events_stand_in_the_folder(tmp_path: Path) -> None:
    run = opened(tmp_path / "run")
    commit = run.checkpoints().commit(1, lambda draft: draft.write_bytes("w", b"1"), metric=0.5)
    with run.events() as events:
        events.append("step", step=1)
    assert RunFolder.open(run.folder).checkpoints().latest() == commit
    assert [event["step"] for event in RunFolder.open(run.folder).events().read("step")] == [1]
    assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "events.jsonl", "run.json"]
