"""Runs side by side: listed with their sizes, compared, removed only where that is safe."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tunewright.cli.runs import _metric
from tunewright.errors import GateError, InputError, MachineError
from tunewright.store.artifact import Draft
from tunewright.store.run import RunFolder
from tunewright.store.runs import begun, compare_runs, find_run, list_runs, remove_run, show_run


def fill(draft: Draft) -> None:
    draft.write_bytes("rows", b"r" * 10_000)


def made(parent: Path, run_id: str, created: str = "2026-01-01T00:00:00Z") -> RunFolder:
    run = RunFolder.open(parent / run_id, create=True, identity=run_id, command=["run", "a.csv"])
    described = json.loads((run.folder / "run.json").read_bytes())
    run.write_document("run.json", {**described, "created": created})
    return run


def finished(parent: Path, run_id: str, f1: float, lr: float, created: str = "2026-01-01T00:00:00Z") -> RunFolder:
    run = made(parent, run_id, created)
    run.write_document(
        "result.json",
        {
            "run": str(run.folder),
            "metrics": {"f1": f1, "auc": {"value": 0.9, "interval": [0.8, 1.0]}, "note": "text"},
            "verdict": {"outcome": "better"},
            "task": "classify",
            "model": {"name": "minilm-l6"},
            "config": {"train": {"lr": lr, "epochs": 3}},
        },
    )
    return run


def test_no_folder_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == ()


def test_runs_are_listed_newest_first_and_nothing_else_is(tmp_path: Path) -> None:
    finished(tmp_path, "old", 0.8, 1e-5, "2026-01-01T00:00:00Z")
    finished(tmp_path, "new", 0.9, 1e-5, "2026-02-01T00:00:00Z")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_bytes(b"")
    shutil.copytree(tmp_path / "old", tmp_path / ".tmp-0123456789abcdef")
    shutil.copytree(tmp_path / "old", tmp_path / "Upper Case")
    (tmp_path / "link").symlink_to(tmp_path / "old", target_is_directory=True)
    runs = list_runs(tmp_path)
    assert [run.id for run in runs] == ["new", "old"]
    run = runs[0]
    assert (run.state, run.task, run.model, run.verdict) == ("finished", "classify", "minilm-l6", "better")
    assert run.metrics == {"f1": 0.9, "auc": 0.9}
    assert run.command == ("run", "a.csv")


def test_the_state_is_what_the_folder_shows(tmp_path: Path) -> None:
    made(tmp_path, "failed")
    interrupted = made(tmp_path, "interrupted")
    interrupted.checkpoints().commit(40, fill)
    finished(tmp_path, "finished", 0.9, 1e-5)
    with made(tmp_path, "running").lock():
        states = {run.id: (run.state, run.step) for run in list_runs(tmp_path)}
    assert states == {
        "failed": ("failed", None),
        "interrupted": ("interrupted", 40),
        "finished": ("finished", None),
        "running": ("running", None),
    }


def test_sizes_count_each_file_once_per_run(tmp_path: Path) -> None:
    first, second = made(tmp_path, "a"), made(tmp_path, "b")
    first.commit_stage("data", "key", fill)
    second.commit_stage("data", "key", fill)
    os.link(second.folder / "data" / "rows", second.folder / "data-again")
    (second.folder / "link").symlink_to(first.folder / "data" / "rows")
    sizes = {run.id: run.num_bytes for run in list_runs(tmp_path)}
    manifest = (first.folder / "data" / "manifest.json").stat().st_size
    assert sizes["a"] == 10_000 + manifest + (first.folder / "run.json").stat().st_size
    assert 10_000 < sizes["b"] < 20_000


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"metrics": 3, "verdict": [1], "task": {}, "model": null}'])
def test_an_odd_result_is_tolerated(tmp_path: Path, content: bytes) -> None:
    run = made(tmp_path, "odd")
    (run.folder / "result.json").write_bytes(content)
    (listed,) = list_runs(tmp_path)
    assert (listed.metrics, listed.verdict, listed.task, listed.model) == ({}, "", "", "")
    assert bool(listed.problem) == (listed.state != "finished")


def test_the_metric_that_decides_is_known_and_listed_first(tmp_path: Path) -> None:
    run = made(tmp_path, "chat")
    metrics = {"bits_per_character": 0.9, "nll_per_dialogue": 41.2}
    verdict = {"outcome": "no evidence", "metric": "nll_per_dialogue"}
    run.write_document("result.json", {"metrics": metrics, "verdict": verdict})
    finished(tmp_path, "old", 0.8, 1e-5)
    listed = {run.id: run for run in list_runs(tmp_path)}
    assert {name: run.deciding for name, run in listed.items()} == {"chat": "nll_per_dialogue", "old": ""}
    assert _metric(listed["chat"]) == "nll_per_dialogue 41.2000"
    assert _metric(listed["old"]) == "auc 0.9000"


def test_metrics_may_be_a_list_of_measures(tmp_path: Path) -> None:
    run = made(tmp_path, "a")
    run.write_document("result.json", {"metrics": [{"name": "准确率", "value": 0.5}, {"name": "auc", "value": None}]})
    assert list_runs(tmp_path)[0].metrics == {"准确率": 0.5}


def test_a_damaged_description_is_listed_with_its_problem(tmp_path: Path) -> None:
    (made(tmp_path, "a").folder / "run.json").write_bytes(b"{")
    (run,) = list_runs(tmp_path)
    assert "damaged" in run.problem
    assert run.created == ""


def test_showing_a_run_tells_what_it_holds(tmp_path: Path) -> None:
    run = finished(tmp_path, "a", 0.9, 1e-5)
    run.commit_stage("data", "key", fill)
    for step, metric in ((10, 0.9), (20, 0.5)):
        run.checkpoints().commit(step, fill, metric=metric)
    detail = show_run(tmp_path, "a")
    assert detail.run.step == 20
    assert detail.commits == ((1, 10, 0.9), (2, 20, 0.5))
    assert sorted(detail.contents) == ["checkpoints", "data", "result.json", "run.json"]
    assert sum(detail.contents.values()) == detail.run.num_bytes
    assert detail.result["task"] == "classify"


def test_comparing_sets_metrics_and_differing_settings_side_by_side(tmp_path: Path) -> None:
    finished(tmp_path, "a", 0.8, 1e-5)
    finished(tmp_path, "b", 0.9, 5e-5)
    made(tmp_path, "c")
    both = compare_runs(tmp_path, ["b", "a"])
    assert [run.id for run in both.runs] == ["b", "a"]
    assert both.metrics == {"f1": (0.9, 0.8), "auc": (0.9, 0.9)} == {**both.metrics}
    assert both.settings == {"train.lr": (5e-5, 1e-5)}
    assert compare_runs(tmp_path, ["a", "c"]).metrics["f1"] == (0.8, None)


# ---------------------------------------------------------------------------------------------------------- removing


def test_removing_takes_one_run_and_leaves_what_it_shared(tmp_path: Path) -> None:
    first, second = made(tmp_path, "a"), made(tmp_path, "b")
    first.commit_stage("data", "key", fill)
    second.commit_stage("data", "key", fill)
    num_bytes = list_runs(tmp_path)[1].num_bytes
    assert remove_run(tmp_path, "a") == num_bytes
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert second.open_stage("data", "key") is not None


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../a", "a/../b", "/etc", "a\0", "A", "a\n", "x" * 65, "-a", "~", "%2e%2e", "C:", "字"]
)
def test_what_cannot_be_an_id_is_refused(tmp_path: Path, run_id: str) -> None:
    made(tmp_path / "runs", "a")
    made(tmp_path, "b")
    with pytest.raises(InputError, match="cannot be the id"):
        remove_run(tmp_path / "runs", run_id)
    assert find_run(tmp_path, "b").exists()


def test_only_a_run_s_own_folder_is_removed(tmp_path: Path) -> None:
    outside = made(tmp_path / "outside", "movies")
    runs = tmp_path / "runs"
    made(runs, "movies-2")
    (runs / "link").symlink_to(outside.folder, target_is_directory=True)
    (runs / "thesis").mkdir()
    (runs / "thesis" / "text").write_text("years of work", encoding="utf-8")
    for run_id in ("link", "thesis", "movie-2"):
        with pytest.raises(InputError, match="no such run"):
            remove_run(runs, run_id)
    with pytest.raises(InputError) as caught:
        remove_run(runs, "movie-2")
    assert caught.value.hint == "did you mean movies-2?"
    assert (outside.folder / "run.json").exists()
    assert (runs / "thesis" / "text").exists()


def test_an_owned_run_is_not_removed(tmp_path: Path) -> None:
    run = made(tmp_path, "a")
    with run.lock(), pytest.raises(MachineError, match=f"(?s)another process.*{os.getpid()}"):
        remove_run(tmp_path, "a")
    assert run.folder.exists()


def test_links_in_a_run_are_removed_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_bytes(b"1")
    run = made(tmp_path / "runs", "a")
    (run.folder / "input").symlink_to(tmp_path / "data", target_is_directory=True)
    remove_run(tmp_path / "runs", "a")
    assert (tmp_path / "data" / "mine.csv").exists()


def test_a_killed_removal_is_finished_by_the_next(tmp_path: Path) -> None:
    made(tmp_path, "a")
    (tmp_path / ".tmp-0123456789abcdef").mkdir()
    (tmp_path / ".tmp-0123456789abcdef" / "rest").write_bytes(b"1")
    remove_run(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "is_left"), [(InputError, False), (GateError, False), (MachineError, True)])
def test_a_mistake_takes_back_a_new_run_and_nothing_else(error: type[Exception], is_left: bool, tmp_path: Path) -> None:
    folder = tmp_path / "新" / "run"
    with pytest.raises(error), begun(folder, "id", ["run"], "study.db"):
        raise error("wrong")
    assert folder.exists() == (tmp_path / "新").exists() == is_left
    with begun(folder, "id", ["run"], "study.db") as opened:
        opened.write_document("study.db", b"")
    with pytest.raises(error), begun(folder, "id", ["run"], "study.db"):
        raise error("wrong")
    assert (folder / "study.db").exists()
