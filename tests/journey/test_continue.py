"""A run that stops and goes on: what it is called meanwhile, what to type next, and what must not be lost on the way."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import run_words
from small_reviews import SMALL, sentences, write_csv

import tunewright
from tunewright.answering import locate_run
from tunewright.data import files
from tunewright.errors import InputError, Interrupted
from tunewright.pipeline import Watcher, judge_again
from tunewright.store.events import EventLog
from tunewright.store.run import to_finish
from tunewright.store.runs import list_runs
from tunewright.types import Choice


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """120 reviews in a file whose name needs quotes, each by one of 30 authors."""
    rows = [(text, label, f"author {number % 30}") for number, (text, label) in enumerate(sentences(120))]
    return write_csv(tmp_path / "my reviews.csv", ("text", "label", "author"), rows)


def words(reviews: Path, model: Path, out: Path, *more: str) -> list[str]:
    """A command line for a small run."""
    return [str(reviews), f"model={model}", *SMALL, "train.epochs=2", *more, "--out", str(out)]


def next_command(printed: str) -> list[str]:
    """The words of the first command that a summary says to type next."""
    return shlex.split(printed.split("Next:", 1)[1].splitlines()[0])


def test_states_and_next_lines_lead_to_a_verdict(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    asked = words(reviews, tiny_bert_folder, tmp_path / "runs" / "one")
    for verb, state in (("prepare", "prepared"), ("train", "trained")):
        done = run_words([verb, *asked])
        assert (done.code, [run.state for run in list_runs(tmp_path / "runs")]) == (0, [state]), done.err
        assert next_command(done.out) == ["tunewright", "run", *asked]
    last = run_words(next_command(done.out)[1:])
    assert (last.code, [run.state for run in list_runs(tmp_path / "runs")]) == (0, ["finished"]), last.err


def test_an_interrupted_run_says_the_command_that_goes_on(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    out, steps = tmp_path / "runs" / "a run", iter(range(1000))
    options: dict[str, Any] = {"out": out, "overrides": [f"model={tiny_bert_folder}", *SMALL]}
    with pytest.raises(Interrupted) as stopped:
        tunewright.run(reviews, train={"epochs": 2}, watcher=Watcher(asked_to_stop=lambda: next(steps) == 3), **options)
    typed = shlex.split(stopped.value.hint)
    assert typed[:3] == ["tunewright", "run", str(reviews)]
    assert typed[-2:] == ["--out", str(out)]
    assert "train.epochs=10" in typed  # an override beats an argument
    for look in (tunewright.replay, judge_again):
        with pytest.raises(InputError) as refused:
            look(out)
        assert refused.value.hint == stopped.value.hint
    assert run_words(typed[1:]).code == 0
    assert [run.state for run in list_runs(out.parent)] == []  # ids have no spaces, but the run is there
    assert locate_run(out) == out
    assert [event["step"] for event in EventLog(out / "events.jsonl").read("resumed")] == [4]


def test_ctrl_c_names_the_command_that_was_typed(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunewright.pipeline.look", stop)
    asked = ["run", str(reviews), "train.epochs=2", "--out", str(tmp_path / "x y")]
    done = run_words(asked)
    assert done.code == 130
    assert shlex.join(["tunewright", *asked]) in done.err


def test_to_finish_is_the_same_command_as_run() -> None:
    assert to_finish(["tunewright", "prepare", "my file.csv", "a=b c"]) == "tunewright run 'my file.csv' 'a=b c'"
    assert to_finish(["tunewright", "run", "a.csv"]) == "tunewright run a.csv"


def test_a_fresh_run_was_not_resumed(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    tunewright.run(reviews, out=tmp_path / "run", overrides=[f"model={tiny_bert_folder}", *SMALL, "train.epochs=1"])
    assert EventLog(tmp_path / "run" / "events.jsonl").read("resumed") == []


def test_judging_again_keeps_where_every_value_came_from(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    run = tmp_path / "run"
    first = tunewright.run(reviews, out=run, overrides=[f"model={tiny_bert_folder}", *SMALL, "train.epochs=2"])
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    for _ in range(2):
        again = judge_again(run, overrides=["evaluate.metric=macro_f1"])
        before, after = first["config"]["origins"], again["config"]["origins"]
        assert {path for path in before if before[path] != after[path]} == {"evaluate.metric"}
        assert after["evaluate.metric"] == "override evaluate.metric"
        assert after["data.columns.text"].startswith("automatic: ")
        reasons = {choice["path"]: choice["reason"] for choice in again["choices"]}
        assert {choice["path"] for choice in first["choices"]} <= set(reasons)
        assert reasons["data.format"] == next(c["reason"] for c in first["choices"] if c["path"] == "data.format")
        assert again["command"] == first["command"]
        assert again["curves"] == first["curves"]
        assert again["timings"]["train"] == first["timings"]["train"]
    changed = set(recipe.splitlines()) ^ set((run / "recipe.yaml").read_text(encoding="utf-8").splitlines())
    assert all(line.strip().startswith("metric:") for line in changed)


def test_the_input_is_opened_and_hashed_once(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = files.fingerprint

    def noted(path: Path) -> files.Fingerprint:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(files, "fingerprint", noted)
    tunewright.run(reviews, out=tmp_path / "run", until="prepare", overrides=[f"model={tiny_bert_folder}"])
    assert hashed == [reviews, reviews]  # once to look, once to see that it stayed as it was


def test_a_file_that_changes_after_the_look_is_refused(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    def change(choice: Choice) -> None:
        if choice.path == "task.name":
            os.utime(reviews, ns=(1, 1))

    with pytest.raises(InputError, match="changed while it was read"):
        tunewright.run(reviews, out=tmp_path / "run", watcher=Watcher(say=change), model=str(tiny_bert_folder))
    assert not (tmp_path / "run").exists()


def test_rows_of_one_group_are_never_judged_by_a_model_that_saw_the_group(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.judging import labels

    asked: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    real = labels.Bench.refit

    def refit(self: Any, train_rows: Any, test_rows: Any, repeat: int) -> Any:
        asked.append((train_rows, test_rows))
        return real(self, train_rows, test_rows, repeat)

    monkeypatch.setattr(labels.Bench, "refit", refit)
    options = ("data.group=author", "train.epochs=1", "evaluate.out_of_fold=true", "evaluate.out_of_fold_seconds=0.9")
    result = tunewright.run(reviews, out=tmp_path / "run", overrides=[f"model={tiny_bert_folder}", *SMALL, *options])
    assert result["judged_on"] == "out-of-fold"
    authors = {text: f"author {number % 30}" for number, (text, _) in enumerate(sentences(120))}
    dataset = _dataset(tmp_path / "run" / "data")
    texts = [text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()]
    author = np.array([authors[text] for text in texts])
    assert asked
    for train_rows, test_rows in asked:
        assert set(author[train_rows]).isdisjoint(author[test_rows])


def _dataset(folder: Path) -> Any:
    from tunewright.data.prepare import open_dataset

    return open_dataset(folder)


def test_results_of_old_runs_can_be_judged_again(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    run = tmp_path / "run"
    tunewright.run(reviews, out=run, overrides=[f"model={tiny_bert_folder}", *SMALL, "train.epochs=1"])
    content = json.loads((run / "result.json").read_text(encoding="utf-8"))
    content["config"]["origins"] = {}
    (run / "result.json").write_text(json.dumps(content), encoding="utf-8")
    assert judge_again(run)["verdict"]["outcome"] in ("better", "worse", "no evidence")
