"""A search from a file of reviews to the recipe that won: in Python and on the command line, in two languages."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from pages import run_words, take_rows
from small_reviews import chinese_sentences, sentences, write_csv

import tunewright
from tunewright.errors import GateError, InputError, Interrupted
from tunewright.pipeline import Watcher

SPACE = {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "train.batch_size": [8, 16]}
QUICK: dict[str, Any] = {
    "train": {"epochs": 2, "dtype": "fp32", "threads": 1},
    "evaluate": {"out_of_fold": False, "resamples": 200},
}


def table(result: dict[str, Any]) -> list[tuple[object, ...]]:
    """What of the trials must not depend on when and how often the search was stopped."""
    return [
        (t["number"], t["parameters"], t["state"], t["value"], t["validations"]) for t in result["search"]["trials"]
    ]


def test_a_search_in_chinese_writes_the_winning_recipe(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_csv(tmp_path / "评论.csv", ("评论", "标签"), chinese_sentences(80))
    tuned = {"trials": 5, "space": SPACE, "strategy": "random"}
    result = tunewright.tune(data, out=tmp_path / "search", model=str(tiny_bert_folder), tune=tuned, **QUICK)
    assert result == json.loads((tmp_path / "search" / "result.json").read_text(encoding="utf-8"))
    best, trials = result["search"]["best"], result["search"]["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 4 + [trials[4]["state"]]
    assert best["value"] == max(trial["value"] for trial in trials if trial["state"] == "complete")

    kept = [path.parent.name for path in (tmp_path / "search" / "trials").glob("*/model")]
    assert kept == [f"{best['number']:03d}"], "the weights of all others are gone"
    assert not list((tmp_path / "search" / "trials").glob("*/checkpoints")), "no ended trial goes on"

    page = (tmp_path / "search" / "report.html").read_text(encoding="utf-8")
    assert all(part in page for part in ("best so far", "The winning recipe", best["command"], "train.lr"))
    done = run_words([*best["command"].split()[1:], "--out", str(tmp_path / "winner"), "--json"])
    won = json.loads(done.out)
    assert done.code == 0, done.err
    assert won["verdict"]["outcome"] in ("better", "worse", "no evidence")
    assert {path: won["config"]["values"]["train"][path.partition(".")[2]] for path in SPACE} == best["parameters"]
    assert won["curves"]["best_value"] == pytest.approx(best["value"])


def test_the_data_are_prepared_once_and_shared_without_a_copy(
    tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.adapt import encode as encoding
    from tunewright.data import prepare as preparing

    counted = {"prepare": 0, "encode": 0}

    def counting(name: str, plain: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return plain(*args, **options)

        return call

    monkeypatch.setattr("tunewright.pipeline.prepare", counting("prepare", preparing.prepare))
    monkeypatch.setattr(encoding, "encode", counting("encode", encoding.encode))
    rows = [{"text": text, "label": label} for text, label in sentences(80)]
    space = {"train.lr": [1e-3, 3e-3], "task.dropout": [0.0, 0.2]}
    tuned = {"trials": 3, "space": space, "strategy": "grid", "pruner": "none"}
    result = tunewright.tune(rows, out=tmp_path / "search", model=str(tiny_bert_folder), tune=tuned, **QUICK)
    assert counted == {"prepare": 1, "encode": 1}
    trials = tmp_path / "search" / "trials"
    for stage in ("data", "encoded"):
        files = [sorted((trials / name / stage).iterdir()) for name in ("prepared", "000", "001", "002")]
        assert len({tuple(path.stat().st_ino for path in one) for one in files}) == 1
    assert len(result["search"]["trials"]) == 3
    assert "data.path=FILE" in result["search"]["best"]["command"]


def test_a_stopped_search_goes_on_and_more_trials_can_be_asked_for(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(80))
    options = {"model": str(tiny_bert_folder), **QUICK}
    tuned = {"space": SPACE, "strategy": {"name": "tpe", "startup": 2}, "pruner": {"name": "median", "startup": 1}}
    whole = tunewright.tune(data, out=tmp_path / "whole", tune={**tuned, "trials": 4}, **options)

    steps = 0

    def asked() -> bool:
        nonlocal steps
        steps += 1
        return steps % 10 == 0

    stops = 0
    while True:
        try:
            watcher = Watcher(asked_to_stop=asked)
            tunewright.tune(data, out=tmp_path / "stopped", tune={**tuned, "trials": 2}, watcher=watcher, **options)
            break
        except Interrupted as stopped:
            assert stopped.hint.startswith("tunewright tune ")
            assert "--out" in stopped.hint
            stops += 1
    assert stops >= 2
    again = tunewright.tune(data, out=tmp_path / "stopped", tune={**tuned, "trials": 4}, **options)
    assert table(again) == table(whole)
    with pytest.raises(InputError, match="another run"):
        tunewright.tune(data, out=tmp_path / "stopped", tune={**tuned, "trials": 4, "seed": 1}, **options)


def test_a_trial_that_cannot_be_trained_is_recorded_and_passed_over(tmp_path: Path, tiny_bert_folder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in sentences(80)]
    space = {"method.trainable": [".*", "nothing here"], "train.lr": [1e-3, 3e-3]}
    tuned = {"trials": 4, "space": space, "strategy": "grid", "failures": 4}
    result = tunewright.tune(rows, out=tmp_path / "search", model=str(tiny_bert_folder), tune=tuned, **QUICK)
    states = {t["parameters"]["method.trainable"]: (t["state"], t["reason"]) for t in result["search"]["trials"]}
    assert states[".*"] == ("complete", "")
    assert states["nothing here"][0] == "failed"
    assert "no parameter matches" in states["nothing here"][1]
    all_fail = {**tuned, "space": {"method.trainable": ["nothing", "nothing here"]}, "failures": 2}
    with pytest.raises(GateError, match="2 trials in a row failed"):
        tunewright.tune(rows, out=tmp_path / "failing", model=str(tiny_bert_folder), tune=all_fail, **QUICK)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes", "a bug"])
def test_a_trial_without_memory_is_passed_over_and_a_bug_is_not(
    words: str, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.train.loop import Loop

    plain = Loop._update
    broken: list[bool] = []

    def update(loop: Loop) -> Any:
        if not broken:
            broken.append(True)
            raise RuntimeError(words)
        return plain(loop)

    monkeypatch.setattr(Loop, "_update", update)
    rows = [{"text": text, "label": label} for text, label in sentences(80)]
    tuned = {"trials": 2, "space": SPACE}
    asked = {"out": tmp_path / "search", "model": str(tiny_bert_folder), "tune": tuned, **QUICK}
    if words == "a bug":
        with pytest.raises(RuntimeError, match="a bug"):
            tunewright.tune(rows, **asked)
        expected = ["complete", "complete"]
    else:
        expected = ["failed", "complete"]
    result = tunewright.tune(rows, **asked)
    assert [trial["state"] for trial in result["search"]["trials"]] == expected


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on_over_the_space_of_the_task(
    tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.train.loop import Loop

    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(80))
    plain, words = (
        Loop._update,
        ["tune", "reviews.csv", f"model={tiny_bert_folder}", "train.dtype=fp32", "tune.trials=2"],
    )
    count = 0

    def interrupted(loop: Loop) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            signal.raise_signal(signal.SIGINT)
        return plain(loop)

    monkeypatch.setattr(Loop, "_update", interrupted)
    stopped = run_words(words)
    assert stopped.code == 130
    assert "tunewright tune reviews.csv" in stopped.err
    done = run_words([*words, "--json"])
    assert (done.code, done.out.count("\n")) == (0, 1), done.err
    result = json.loads(done.out)
    (folder,) = (tmp_path / "runs").iterdir()
    assert result == json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert list(result["search"]["space"]) == [
        "train.lr", "train.epochs", "train.batch_size", "train.optimizer.weight_decay", "task.dropout",
    ]  # fmt: skip
    assert len(result["search"]["trials"]) == 2


@pytest.mark.timeout(200)
def test_four_trials_on_film_reviews_on_the_command_line(
    tmp_path: Path, movie_reviews_file: Path, minilm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    take_rows(movie_reviews_file, tmp_path / "reviews.csv", 300)
    quick = [f"model={minilm_folder}", "train.epochs=1", "train.dtype=fp32", "encode.max_length=48"]
    space = "tune.space.train.lr={low: 2e-5, high: 1e-3, log: true}"
    done = run_words(["tune", "reviews.csv", *quick, "tune.trials=4", space])
    assert done.code == 0, done.err
    assert "train.lr" in done.out
    assert "tunewright run runs/reviews-tune-" in done.out
    (folder,) = (tmp_path / "runs").iterdir()
    values = [trial["value"] for trial in json.loads((folder / "result.json").read_text("utf-8"))["search"]["trials"]]
    assert len(values) == 4
    assert len(set(values)) > 1
    listed = run_words(["runs", "list"])
    assert folder.name in listed.out
    again = run_words(["report", str(folder)])
    assert again.code == 0
    assert "best so far" in (folder / "report.html").read_text(encoding="utf-8")


MISTAKES = {
    "unknown option": ("tune.space.train.lrr=[1]", "did you mean train.lr?"),
    "what is judged on": ("tune.space.data.test=[0.1, 0.2]", "never searched"),
    "a value that is refused": ("tune.space.train.batch_size=[8, 0]", "tune.space.train.batch_size"),
    "no range": ("tune.space.train.lr={low: 2, high: 1}", "low must be below high"),
    "unknown strategy": ("tune.strategy=tep", "did you mean tpe?"),
    "an empty list": ("tune.space.train.lr=[]", "tune.space"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_four_parts_and_leaves_nothing_behind(
    mistake: str, tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(60))
    word, told = MISTAKES[mistake]
    done = run_words(["tune", "reviews.csv", f"model={tiny_bert_folder}", "train.dtype=fp32", word])
    assert (done.code, done.out) == (2, ""), done.err
    error = done.err[done.err.index("Error: ") :]
    assert told in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.csv"]
