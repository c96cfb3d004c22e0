"""A run that stops and goes on: what it is called meanwhile, what to type next, and what must not be lost on the way."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import run_words
from small_reviews import SMALL, sentences, write_csv

import tunewright
from tunewright import result
from tunewright.answering import locate_run
from tunewright.data import files
from tunewright.errors import InputError, Interrupted
from tunewright.pipeline import Watcher, judge_again
from tunewright.store.events import EventLog
from tunewright.store.run import to_finish
from tunewright.store.runs import list_runs
from tunewright.train.loop import Loop
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


def test_a_changed_recipe_code_or_file_is_refused_by_name_and_a_new_folder_is_the_fork(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was interrupted after three updates is asked to go on; each time something else has changed."""
    out, steps = tmp_path / "runs" / "one", iter(range(1000))
    options: dict[str, Any] = {"out": out, "overrides": [f"model={tiny_bert_folder}", *SMALL], "until": "prepare"}
    with pytest.raises(Interrupted):
        tunewright.run(
            reviews, **(options | {"until": "train"}), watcher=Watcher(asked_to_stop=lambda: next(steps) == 2)
        )

    changed = [*options["overrides"], "train.lr=0.00025", "train.patience=7"]
    with pytest.raises(InputError, match="holds another run") as refused:
        tunewright.run(reviews, **(options | {"overrides": changed}))
    assert "train.lr was 0.003, is 0.00025; train.patience was 0, is 7" in str(refused.value)
    assert shlex.split(refused.value.hint) == ["--out", f"{out}-2"]

    real = result.training_code()
    monkeypatch.setattr(result, "training_code", lambda: {**real, "training code": "other", "torch": "9.9"})
    with pytest.raises(InputError, match="begun by other code") as refused:
        tunewright.run(reviews, **(options | {"until": "train"}))
    code = real["training code"]
    assert f"torch was {real['torch']}, is 9.9; training code was {code}, is other" in str(refused.value)
    fork = Path(shlex.split(refused.value.hint)[1])
    assert tunewright.run(reviews, **(options | {"out": fork}))["run"] == str(fork)
    assert (out / "data" / "train.arrow").samefile(fork / "data" / "train.arrow")  # what is the same is taken over

    with reviews.open("a", encoding="utf-8") as file:
        file.write('"one more film, quite good",positive,author 99\n')
    with pytest.raises(InputError, match=r"rows of .*my reviews.csv was [0-9a-f]{12}, is [0-9a-f]{12}"):
        tunewright.run(reviews, **options)
    assert EventLog(out / "events.jsonl").read("resumed") == []


def test_the_rows_of_a_spike_are_saved_and_its_count_reported(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradients of one update are multiplied by a thousand, as broken rows would do."""
    real = Loop._accumulate

    def spoilt(self: Loop) -> Any:
        loss, rows, tokens = real(self)
        if self.step == 35:
            torch._foreach_mul_([p.grad for p in self.module.parameters() if p.grad is not None], 1000.0)
            loss = loss * 1000
        return loss, rows, tokens

    monkeypatch.setattr(Loop, "_accumulate", spoilt)
    said: list[Choice] = []
    options = [
        f"model={tiny_bert_folder}",
        *SMALL,
        "train.epochs=6",
        "train.batch_size=8",
        "train.lr=1e-5",
        "train.dtype=fp32",
    ]
    found = tunewright.run(
        reviews, out=tmp_path / "run", overrides=options, until="train", watcher=Watcher(say=said.append)
    )
    (incident,) = found["incidents"]
    assert incident["step"] == 36
    assert json.loads((tmp_path / "run" / "incidents.json").read_text(encoding="utf-8"))["incidents"] == [incident]
    assert len(incident["rows"]) == len(incident["row_ids"]) == 8
    assert all(row.startswith(str(reviews)) for row in incident["rows"])
    (choice,) = [each for each in said if each.path == "train.spike.36"]
    assert f"rows {incident['rows'][0]}" in choice.reason
    assert [step["step"] for step in found["curves"]["steps"] if step["skipped"]] == [36]
    assert "1 spike was taken back" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
