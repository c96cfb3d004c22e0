"""A model that writes text after its launch: it answers files, is watched, and a challenger has to beat it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_reviews import write_csv

import tunewright
from tunewright.cli.app import start
from tunewright.errors import InputError
from tunewright.evaluate.checks import check_against
from tunewright.maintaining import retrain, watch
from tunewright.store.registry import Registry
from tunewright.types import read_arrow

THINGS = ("house", "car", "tree", "book", "room", "coat")
DINGE = ("房子", "汽车", "大树", "书本", "房间", "大衣")
QUICK: dict[str, Any] = {
    "train": {"epochs": 4, "batch_size": 8, "lr": 5e-3, "dtype": "fp32", "threads": 1, "patience": 0},
    "evaluate": {"resamples": 200, "generated_rows": 30, "max_new_tokens": 12, "few_shot": 0},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every journey starts in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def question(number: int) -> str:
    """A question of its own, in English or in Chinese."""
    named = f"{number * 7919 % 1000:03d}"  # questions of one kind, whatever the number
    return f"{DINGE[number % 6]}{named}好吗？" if number % 2 else f"Is {THINGS[number % 6]} {named} good?"


def dialogue(number: int, answer: str = "") -> dict[str, Any]:
    """A question with the answer that can be learnt, or with another one."""
    said = answer or ("很好。" if number % 2 else "Yes.")
    return {"messages": [{"role": "user", "content": question(number)}, {"role": "assistant", "content": said}]}


def write_jsonl(path: str, rows: Sequence[dict[str, Any]]) -> str:
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path) -> Path:
    """A run on a few answers by chance."""
    folder = tmp_path_factory.mktemp("poor")
    rng = np.random.default_rng(0)
    rows = [dialogue(number, " ".join(map(str, rng.integers(0, 99, 4)))) for number in range(48)]
    data = write_jsonl(str(folder / "poor.jsonl"), rows)
    made = tunewright.run(data, out=folder / "run", model=str(tiny_llama_folder), **QUICK)
    followed = made["curves"]["best_value"]
    assert made["validation"]["tuned"]["nll_per_token"] == pytest.approx(followed, rel=1e-3), "saved as it was trained"
    return folder / "run"


@pytest.fixture
def live(poor: Path) -> Path:
    """The poor run, as a live version."""
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("chat", poor, accept_verdict=True)
        shelf.promote("chat", 1)
    return poor


def one_by_one(run: Path, messages: list[dict[str, str]]) -> str:
    """The answer as transformers writes it, to one dialogue alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(run / "model")
    model: Any = AutoModelForCausalLM.from_pretrained(run / "model")
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(**ids, max_new_tokens=12, do_sample=False)[0][ids["input_ids"].shape[1] :]
    said: str = tokenizer.decode(made, skip_special_tokens=True)
    return said


def test_a_table_of_questions_is_answered_row_by_row(poor: Path) -> None:
    questions = [question(number) for number in range(100, 106)]
    rows = [(number, each, "n/a") for number, each in enumerate(questions)]
    write_csv(Path("问题.csv"), ("id", "question", "answer"), [*rows, (6, "", "n/a"), (7, "很长" * 60, "n/a")])
    done = tunewright.predict_file(poor, "问题.csv", "out.csv")
    assert (done["rows"], done["unanswered"]) == (8, 2)
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["id", "question", "answer", "predicted_answer", "finish"]
    wanted = [one_by_one(poor, [{"role": "user", "content": each}]) for each in questions]
    assert [row["predicted_answer"] for row in found] == [*wanted, "", ""]
    assert {row["finish"] for row in found[:6]} <= {"stop", "length"}
    assert [row["finish"] for row in found[6:]] == ["", ""]


def test_dialogues_are_answered_from_what_precedes_their_references(poor: Path) -> None:
    opened = dialogue(200)["messages"]
    again = [*opened, {"role": "user", "content": "再说一遍"}]
    rows: list[dict[str, Any]] = [
        {"id": 1, "messages": opened},
        {"id": 2, "messages": opened[:1]},
        {"id": 3, "messages": again},
        {"id": 4, "messages": [opened[1]]},
        {"id": 5, "messages": "nobody"},
    ]
    done = tunewright.predict_file(poor, write_jsonl("held-out.jsonl", rows), "out.jsonl")
    assert (done["rows"], done["unanswered"]) == (5, 2)
    found = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["messages"] for row in found] == [row["messages"] for row in rows]
    assert found[0]["answer"] == found[1]["answer"] == one_by_one(poor, opened[:1])
    assert found[2]["answer"] == one_by_one(poor, again)
    assert [row["answer"] for row in found[3:]] == [None, None]


def test_texts_are_answered_in_python_and_on_the_terminal(poor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [question(301), "", "很长" * 60]
    found = tunewright.predict(poor, asked)
    wanted = one_by_one(poor, [{"role": "user", "content": asked[0]}])
    assert [each["answer"] for each in found] == [wanted, None, None]
    assert start(["predict", str(poor), *asked, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["answers"]
    assert shown == [{"text": text, **each} for text, each in zip(asked, found, strict=True)]
    assert start(["predict", str(poor), asked[0]]) == 0
    assert wanted.strip()[:4] in capsys.readouterr().out


def test_a_file_of_neither_dialogues_nor_texts_is_refused(poor: Path) -> None:
    write_csv(Path("a.csv"), ("name", "place"), [("x", "y")])
    with pytest.raises(InputError, match="text column") as refused:
        tunewright.predict_file(poor, "a.csv", "out.csv")
    assert "messages" in refused.value.allowed
    assert not Path("out.csv").exists()


def test_changed_questions_raise_the_alarm_and_the_same_kind_does_not(poor: Path) -> None:
    same = write_jsonl("same.jsonl", [dialogue(number) for number in (*range(400, 448), 400)])
    drift = watch(poor, same)
    assert drift["requests"] == {"file": same, "rows": 49, "repeated": 1, "without_text": 0}
    assert not drift["is_alarm"]
    assert {each["signal"] for each in drift["readings"]} == {"length", "script", "vocabulary"}
    write_csv(
        Path("other.csv"), ("text",), [(f"Translate {number} into Finnish, please: kiitos",) for number in range(48)]
    )
    drift = watch(poor, "other.csv")
    assert drift["is_alarm"]
    assert drift["num_rows"] == 48


def openings(run: str | Path, *splits: str) -> list[str]:
    """What each dialogue begins with, by a reading of its own."""
    texts = [
        text for split in splits for text in read_arrow(Path(run) / "data" / f"{split}.arrow")["messages"].to_pylist()
    ]
    return [next(turn["content"] for turn in json.loads(text) if turn["role"] == "user") for text in texts]


def test_a_challenger_that_predicts_better_is_promoted(live: Path) -> None:
    rows = [dialogue(number) for number in range(20, 360)]  # some questions of the live version, with other answers
    made = retrain("chat", write_jsonl("新.jsonl", rows), accept_verdict=True)
    decision = made["decision"]
    assert (decision["outcome"], decision["live"], decision["version"]) == ("promote", 1, 2), decision["reason"]
    comparison = decision["comparison"]
    assert (comparison["metric"], comparison["against"]) == ("nll_per_dialogue", "the live version 1")
    assert comparison["p"] < 0.05
    assert comparison["difference"] < 0
    assert {each["name"]: each["passed"] for each in decision["checks"]} == {"answers": True, "chrf_difference": True}
    known = {*openings(live, "train", "validation"), *openings(made["run"], "train", "validation")}
    test = openings(made["run"], "test")
    fair = [each for each in test if each not in known]
    assert decision["num_rows"] == len(fair) < len(test)
    with Registry(Path("registry")) as shelf:
        assert shelf.current("chat").number == 2
    watched = watch("chat", write_jsonl("same.jsonl", rows[-60:]), registry="registry")
    assert not watched["is_alarm"]


def test_a_handful_of_answers_promotes_nothing(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(config: Any, tuned: Any, rival: Any, gold: Any, name: str) -> Any:
        first = np.arange(6)
        return check_against(config, tuned.take(first), rival.take(first), gold.take(first), name)

    monkeypatch.setattr("tunewright.maintaining.comparing.check_against", few)
    decision = retrain(
        "chat", write_jsonl("new.jsonl", [dialogue(number) for number in range(100, 400)]), accept_verdict=True
    )["decision"]
    assert (decision["outcome"], decision["version"]) == ("keep", None)
    assert decision["reason"].startswith(
        "What it generates fails answers (6, needed at least 10), so it is not promoted"
    )


def test_a_challenger_that_learnt_noise_is_kept_off(tiny_llama_folder: Path) -> None:
    good = write_jsonl("good.jsonl", [dialogue(number) for number in range(160)])
    tunewright.run(good, out="runs/good", model=str(tiny_llama_folder), **QUICK)
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("chat", Path("runs/good"), accept_verdict=True)
        shelf.promote("chat", 1)
    noise = [dialogue(number, "zq" * (1 + number % 9)) for number in range(500, 560)]
    decision = retrain("chat", write_jsonl("noise.jsonl", noise))["decision"]
    assert decision["outcome"] == "keep"
    assert decision["num_rows"] > 0
    with Registry(Path("registry")) as shelf:
        assert shelf.current("chat").number == 1
        assert shelf.history("chat")[0].action == "keep"


@pytest.mark.index
@pytest.mark.parametrize(
    ("language", "asked", "answer"),
    [
        ("zh", "房间{}有什么用？", "用来睡觉。"),
        pytest.param("en", "What is room {} for?", "It is for sleeping.", marks=pytest.mark.slow),
    ],
)
def test_new_rows_join_the_dialogues_of_an_asset(
    language: str, asked: str, answer: str, tiny_llama_folder: Path
) -> None:
    data = {"columns": {"messages": "messages"}, "allow": ["no_supervision"]}
    quick = {"train": {**QUICK["train"], "epochs": 1}, "evaluate": {**QUICK["evaluate"], "generated_rows": 10}}
    options: dict[str, Any] = {"model": str(tiny_llama_folder), "task": "chat", **quick}
    tunewright.run(f"asset:dialogues-{language}", data=data, out="runs/first", **options)
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("chat", Path("runs/first"), accept_verdict=True)
        shelf.promote("chat", 1)
    rows = [{"messages": [{"role": "user", "content": asked.format(number)}, {"role": "assistant", "content": answer}]}
            for number in range(200)]  # fmt: skip
    made = retrain("chat", write_jsonl("new.jsonl", rows), accept_verdict=True)
    known = {*openings("runs/first", "train", "validation"), *openings(made["run"], "train", "validation")}
    assert made["decision"]["num_rows"] <= sum(each not in known for each in openings(made["run"], "test"))
    assert made["decision"]["comparison"]["difference"] < 0
