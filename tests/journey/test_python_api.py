"""The two surfaces of one road: what Python returns is what the JSON says, and every mistake is told in four parts."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from pages import run_words
from small_reviews import chinese_sentences, sentences, write_csv

import tunewright

QUICK: dict[str, Any] = {
    "train": {"epochs": 2, "batch_size": 16, "dtype": "fp32", "threads": 1, "lr": 0.003},
    "evaluate": {"out_of_fold": False, "resamples": 200},
}
ENVIRONMENT = {
    "TUNEWRIGHT_TRAIN__EPOCHS": "2",
    "TUNEWRIGHT_TRAIN__BATCH_SIZE": "16",
    "TUNEWRIGHT_TRAIN__DTYPE": "fp32",
    "TUNEWRIGHT_TRAIN__THREADS": "1",
    "TUNEWRIGHT_TRAIN__LR": "0.003",
    "TUNEWRIGHT_EVALUATE__OUT_OF_FOLD": "false",
    "TUNEWRIGHT_EVALUATE__RESAMPLES": "200",
}
SIGMOID = {"name": "classify", "output": "sigmoid"}
PARTS = ("  given:   ", "  allowed: ", "  try:     ")
NUMBERS = ("metrics", "ledger", "verdict", "per_label", "systems", "judged_on", "num_judged")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a good file and settings under which a run takes seconds."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(120))
    return tmp_path


def same_numbers(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Both results say the same; only times, paths and the machine's state may differ."""
    assert {name: first[name] for name in NUMBERS} == {name: second[name] for name in NUMBERS}


# ----------------------------------------------------------------------------------------------------------- Python


def test_every_form_of_the_same_rows_gives_the_same_numbers(tmp_path: Path, tiny_bert_folder: Path) -> None:
    import pyarrow as pa

    rows = sentences(120)
    dicts = [{"text": text, "label": label} for text, label in rows]
    forms: dict[str, Any] = {
        "path": write_csv(tmp_path / "reviews.csv", ("text", "label"), rows),
        "text": str(tmp_path / "reviews.csv"),
        "dicts": dicts,
        "arrow": pa.Table.from_pylist(dicts),
    }
    results = {
        name: tunewright.run(form, out=tmp_path / name, model=str(tiny_bert_folder), **QUICK)
        for name, form in forms.items()
    }
    for name, result in results.items():
        assert json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) == result
        same_numbers(result, results["path"])
        assert result["hashes"]["weights"] == results["path"]["hashes"]["weights"]


def test_a_data_frame_is_rows_too(tmp_path: Path, tiny_bert_folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = chinese_sentences(120)
    frame = pandas.DataFrame(rows, columns=["评论", "标签"])
    dicts = [{"评论": text, "标签": label} for text, label in rows]
    from_frame, from_dicts = (
        tunewright.run(form, out=tmp_path / name, model=str(tiny_bert_folder), **QUICK)
        for name, form in (("frame", frame), ("dicts", dicts))
    )
    same_numbers(from_frame, from_dicts)
    assert from_frame["data"]["columns"] == {"text": "评论", "label": "标签"}
    answers = tunewright.predict(tmp_path / "frame", ["很好看的电影", "", "太难看了"])
    assert [set(answer) for answer in answers] == [{"label", "confidence"}] * 3
    assert answers[1] == {"label": None, "confidence": None}


def test_sections_and_overrides_are_the_same_options(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(120))
    model = str(tiny_bert_folder)
    as_sections = tunewright.run(data, out=tmp_path / "one", model=model, task=SIGMOID, **QUICK)
    flat = [f"{section}.{name}={value}" for section, options in QUICK.items() for name, value in options.items()]
    as_overrides = tunewright.run(
        data, out=tmp_path / "two", overrides=[f"model={model}", "task.name=classify", "task.output=sigmoid", *flat]
    )
    same_numbers(as_sections, as_overrides)
    assert as_sections["config"]["values"]["task"]["output"] == "sigmoid"


def test_a_run_goes_on_from_an_earlier_one(tmp_path: Path, tiny_bert_folder: Path) -> None:
    runs = tmp_path / "runs"
    rows = [{"text": text, "label": label} for text, label in sentences(120)]
    tunewright.run(rows, out=runs / "first", model=str(tiny_bert_folder), **QUICK)
    later = tunewright.run(rows, out=runs / "second", base="run:first", **QUICK)
    assert later["model"]["name"] == "run:first"
    first_loss, later_loss = (
        json.loads((runs / name / "result.json").read_text(encoding="utf-8"))["curves"]["steps"][0]["loss"]
        for name in ("first", "second")
    )
    assert later_loss < first_loss


def test_predict_file_keeps_the_columns(tmp_path: Path, tiny_bert_folder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in sentences(120)]
    run = tunewright.run(rows, out=tmp_path / "run", model=str(tiny_bert_folder), **QUICK)["run"]
    source = write_csv(tmp_path / "new.csv", ("number", "text"), [(7, "a great film"), (8, ""), (9, "坏")])
    done = tunewright.predict_file(run, source, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (done["rows"], done["unanswered"]) == (3, 1)
    assert [line["number"] for line in lines] == ["7", "8", "9"]
    assert [line["label"] is None for line in lines] == [False, True, False]


# ---------------------------------------------------------------------------------------------------- the command line


def test_json_is_one_object_and_nothing_else(
    here: Path, tiny_bert_folder: Path, run_process: Callable[..., CompletedProcess[str]]
) -> None:
    command = (sys.executable, "-m", "tunewright", "run", "reviews.csv", f"model={tiny_bert_folder}", "--out", "out")
    done = run_process(*command, "--json", folder=here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert result == json.loads((here / "out" / "result.json").read_text(encoding="utf-8"))
    assert Path(result["report"]).name == "report.html"
    assert {"used", "truncated", "duplicate", "rejected", "total"} <= set(result["ledger"])
    assert {"against", "difference", "interval", "p"} <= set(result["verdict"]["comparisons"][0])

    failed = run_process(sys.executable, "-m", "tunewright", "run", "missing.csv", "--json", folder=here)
    assert failed.returncode == 2
    told = json.loads(failed.stdout)
    assert (told["exit_code"], told["given"]) == (2, "missing.csv")
    assert all(told[part] for part in ("error", "problem", "where", "allowed", "hint"))


MISTAKES: dict[str, tuple[str | bytes | None, list[str], int, list[str]]] = {
    "missing file": (None, ["review.csv"], 2, ["there is no such file", "did you mean reviews.csv?"]),
    "empty file": ("", ["bad.csv"], 2, ["bad.csv", "no row"]),
    "header only": ("text,label\n", ["bad.csv"], 2, ["bad.csv", "a header and no rows"]),
    "wrong column": (None, ["reviews.csv", "data.columns.label=lable"], 2, ["did you mean data.columns.label=label?"]),
    "one class": ("text,label\n" + "".join(f"text {n},same\n" for n in range(40)), ["bad.csv"], 2, ["the same label"]),
    "broken line": ('{"text": "a", "label": "x"}\n{"text": \n', ["bad.jsonl"], 2, ["bad.jsonl:2", "broken JSON"]),
    "binary noise": (bytes(range(256)) * 20, ["bad.csv"], 2, ["bad.csv", "binary"]),
    "unknown key": ("version: 1\ndata: reviews.csv\ntrian: {lr: 1e-4}\n", ["bad.yaml"], 2, ["bad.yaml:3", "train?"]),
    "unknown override": (None, ["reviews.csv", "train.lrr=1"], 2, ["train.lrr", "did you mean train.lr?"]),
    "stray word": (None, ["reviews.csv", "fast"], 2, ["fast", "key=value"]),
    "foreign folder": (None, ["reviews.csv", "--out", "."], 2, ["holds other files"]),
    "few rows": ("text,label\na b,x\nc d,y\n", ["bad.csv"], 3, ["too few rows", "data.min_rows=2"]),
    "one dialogue": (
        '{"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "您好！"}]}\n',
        ["bad.jsonl", "model=smollm2-135m-instruct"],
        3,
        ["too few rows", "given:   1 row", "collect more rows\n"],
    ),
    "many rejected": (
        "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(60)) + ",1\n" * 30,
        ["bad.csv"],
        3,
        ["bad.csv:62", "data.max_rejected"],
    ),
}


def tell(mistake: str, here: Path) -> list[Path]:
    """Make the mistake, and check how it is told; returns what stands in the folder before it."""
    content, words, code, told = MISTAKES[mistake]
    if content is not None:
        (here / words[0]).write_bytes(content.encode() if isinstance(content, str) else content)
    before = sorted(here.rglob("*"))
    done = run_words(["run", *words])
    assert (done.code, done.out) == (code, ""), done.err
    error = done.err[done.err.index("Error: ") :]
    assert all(part in error for part in told), error
    assert all(part in error for part in PARTS), error
    return before


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_four_parts(mistake: str, here: Path) -> None:
    tell(mistake, here)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_leaves_nothing_behind(mistake: str, here: Path) -> None:
    before = tell(mistake, here)
    assert sorted(here.rglob("*")) == before


def test_every_problem_of_a_recipe_is_told_at_once(here: Path) -> None:
    (here / "bad.yaml").write_text(
        "version: 1\ndata: reviews.csv\ntrain: {patience: many, epoch: 2}\nsede: 3\n", "utf-8"
    )
    done = run_words(["run", "bad.yaml", "--json"])
    told = json.loads(done.out)
    assert done.code == told["exit_code"] == 2
    assert [problem["where"] for problem in told["problems"]] == ["bad.yaml:3", "bad.yaml:3", "bad.yaml:4"]
    assert [problem["hint"] for problem in told["problems"]][1:] == [
        "did you mean train.epochs?",
        "did you mean seed?",
    ]


def test_a_request_to_stop_ends_with_130_and_the_same_command_goes_on(
    here: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.train.loop import Loop

    words = ["run", "reviews.csv", f"model={tiny_bert_folder}", "--out", "runs/stopped"]
    plain = Loop._update

    def interrupted(loop: Loop) -> Any:
        if loop.step == 3:
            import signal

            signal.raise_signal(signal.SIGINT)
        return plain(loop)

    monkeypatch.setattr(Loop, "_update", interrupted)
    stopped = run_words(words)
    assert stopped.code == 130
    assert shlex.join(["tunewright", *words]) in stopped.err
    assert not (here / "runs" / "stopped" / "result.json").exists()
    monkeypatch.setattr(Loop, "_update", plain)
    whole = run_words([*words[:-1], "runs/whole", "--json"])
    resumed = run_words([*words, "--json"])
    assert (whole.code, resumed.code) == (0, 0)
    same_numbers(json.loads(resumed.out), json.loads(whole.out))
    assert json.loads(resumed.out)["hashes"]["weights"] == json.loads(whole.out)["hashes"]["weights"]
