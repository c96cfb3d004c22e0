"""Life after launch (N14): versions, promotion, rollback, a drift alarm, and a challenger that has to win."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_reviews import SMALL, chinese_sentences, sentences, write_csv

import tunewright
from tunewright.cli.app import start
from tunewright.errors import GateError, InputError
from tunewright.maintaining import retrain, watch
from tunewright.store.follow import Follower
from tunewright.store.registry import Registry
from tunewright.types import read_arrow

CALM = ("train.threads=1", "train.dtype=fp32", "evaluate.out_of_fold=false", "evaluate.resamples=200")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every journey starts in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_jsonl(path: str, texts: Sequence[str]) -> str:
    """Requests as a server logs them."""
    Path(path).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def real_rows(source: Path) -> list[tuple[str, str]]:
    with source.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    return rows


def say(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """A command with its exit code and its JSON."""
    capsys.readouterr()
    try:
        code = start([*map(str, words), "--json"])
    except SystemExit as stop:
        code = int(str(stop.code))
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.index
@pytest.mark.timeout(240)
def test_a_real_model_is_kept_watched_and_retrained(
    movie_reviews_file: Path, minilm_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tunewright.assets import fetch_data

    rows = real_rows(movie_reviews_file)
    write_csv(Path("first.csv"), ("text", "label"), rows[:100])
    write_csv(Path("new.csv"), ("text", "label"), rows[100:200])
    quiet = write_jsonl("quiet.jsonl", [text for text, _ in rows[1000:1120]])
    foreign = [write_jsonl(f"{name}.jsonl", [text for text, _ in real_rows(fetch_data(name))[:60]])
               for name in ("amazon-snippets", "chinese-reviews")]  # fmt: skip
    for number, lr in enumerate((3e-5, 1e-4), start=1):
        overrides = [
            f"model={minilm_folder}",
            "train.epochs=1",
            f"train.lr={lr}",
            "evaluate.baselines=[majority]",
            *CALM,
        ]
        tunewright.run("first.csv", out=f"runs/run-{number}", overrides=overrides)
        said = say(capsys, "registry", "add", "reviews", f"run-{number}", "--accept-verdict", "--note", f"第{number}版")
        assert (said[0], said[1]["version"], said[1]["note"]) == (0, number, f"第{number}版")
        assert say(capsys, "registry", "promote", "reviews", number)[1]["state"] == "live"
    follower = Follower(Path("registry"), "reviews")
    assert follower().number == 2
    assert say(capsys, "registry", "rollback", "reviews", "--reason", "slower")[1]["version"] == 1
    assert follower().number == 1

    code, drift = say(capsys, "watch", "reviews", quiet, "--registry", "registry")
    assert (code, drift["is_alarm"], drift["num_rows"]) == (0, False, 120)
    assert {each["signal"] for each in drift["readings"]} == {
        "confidence",
        "label_share",
        "length",
        "script",
        "vocabulary",
    }
    for requests in foreign:
        code, drift = say(capsys, "watch", "run-1", requests)
        assert (code, drift["is_alarm"]) == (3, True)

    code, made = say(capsys, "retrain", "reviews", "new.csv", "--accept-verdict")
    decision = made["decision"]
    assert code == 0
    assert decision["num_rows"] == decision["comparison"]["num_rows"] > 20
    won = decision["comparison"]["p"] < 0.05 and decision["comparison"]["difference"] > 0
    assert decision["outcome"] == ("promote" if won else "keep")
    assert follower().number == (3 if won else 1)
    newest = say(capsys, "registry", "show", "reviews")[1]["history"][0]
    assert (newest["action"], newest["reason"]) == (decision["outcome"], decision["reason"])
    assert newest["detail"]["comparison"]["p"] == decision["comparison"]["p"]
    follower.close()


@pytest.fixture
def poor(tiny_bert_folder: Path) -> Path:
    """A live model that was tuned on labels by chance."""
    draw = random.Random(3)
    rows = [(text, draw.choice(["positive", "negative"])) for text, _ in sentences(60)]
    data = write_csv(Path("poor.csv"), ("text", "label"), rows)
    tunewright.run(data, out="runs/poor", overrides=[f"model={tiny_bert_folder}", *SMALL])
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("reviews", Path("runs/poor"), accept_verdict=True)
        shelf.promote("reviews", 1)
    return data


def texts_of(run: str | Path, *splits: str) -> set[str]:
    return {text for split in splits for text in read_arrow(Path(run) / "data" / f"{split}.arrow")["text"].to_pylist()}


def test_a_challenger_that_wins_is_promoted_on_rows_that_neither_has_seen(poor: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in sentences(400, seed=8)]
    Path("new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = retrain("reviews", "new.jsonl", accept_verdict=True)
    decision = made["decision"]
    assert (decision["outcome"], decision["live"], decision["version"]) == ("promote", 1, 2)
    assert decision["reason"].startswith("Better: ")
    assert "for the live version 1" in decision["reason"]
    assert decision["reason"].endswith(f" on {decision['num_rows']} rows that neither was tuned on.")
    assert decision["checks"] == []
    fair = texts_of(made["run"], "test") - texts_of("runs/poor", "train", "validation")
    assert decision["num_rows"] == len(fair)
    assert not fair & texts_of(made["run"], "train", "validation")
    with Registry(Path("registry")) as shelf:
        live = shelf.current("reviews")
        assert (live.number, live.note) == (2, "retrained from version 1")
        assert shelf.history("reviews")[0].detail["num_rows"] == len(fair)
        assert shelf.rollback("reviews").number == 1
        shelf.promote("reviews", 2)

    again = retrain("reviews", "new.jsonl", accept_verdict=True)["decision"]
    assert (again["outcome"], again["reason"]) == ("keep", "the live version is this very run")


def test_the_comparison_agrees_with_answers_taken_one_by_one(poor: Path) -> None:
    write_csv(Path("new.csv"), ("text", "label"), sentences(300, seed=8))
    made = retrain("reviews", "new.csv", accept_verdict=True)
    test = read_arrow(Path(made["run"]) / "data" / "test.arrow").to_pylist()
    seen = texts_of("runs/poor", "train", "validation")
    fair = [row for row in test if row["text"] not in seen]
    texts, gold = [row["text"] for row in fair], [row["label"][0] for row in fair]
    right = {run: np.array([answer["label"] for answer in tunewright.predict(run, texts)]) == gold
             for run in (made["run"], "runs/poor")}  # fmt: skip
    ours, theirs = right.values()
    comparison = made["decision"]["comparison"]
    assert (comparison["tuned"], comparison["opponent"]) == pytest.approx((ours.mean(), theirs.mean()))
    assert comparison["num_discordant"] == int((ours != theirs).sum())


def test_a_challenger_without_evidence_is_not_promoted(tiny_bert_folder: Path) -> None:
    data = write_csv(Path("评论.csv"), ("评论", "标签"), chinese_sentences(120))
    tunewright.run(data, out="runs/chinese", overrides=[f"model={tiny_bert_folder}", *SMALL])
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("pinglun", Path("runs/chinese"), accept_verdict=True)
        shelf.promote("pinglun", 1)
    write_csv(Path("新.csv"), ("评论", "标签"), [(f"新{text}", label) for text, label in chinese_sentences(140)[100:]])
    decision = retrain("pinglun", "新.csv")["decision"]
    assert (decision["outcome"], decision["version"]) == ("keep", None)
    with Registry(Path("registry")) as shelf:
        assert shelf.current("pinglun").number == 1
        assert len(shelf.versions("pinglun")) == 1
        assert shelf.history("pinglun")[0].action == "keep"


def test_a_winner_with_an_unsure_verdict_has_to_be_accepted(poor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(Path("new.csv"), ("text", "label"), sentences(300, seed=8))
    from tunewright.maintaining import retraining

    travel = tunewright.run

    def unsure(*args: Any, **options: Any) -> dict[str, Any]:
        result = travel(*args, **options)
        return {**result, "verdict": {**result["verdict"], "outcome": "no evidence"}}

    monkeypatch.setattr(retraining, "run", unsure)
    decision = retrain("reviews", "new.csv")["decision"]
    assert decision["outcome"] == "keep"
    assert decision["reason"].startswith("The challenger's own verdict is `no evidence`")


def test_labels_that_the_live_version_does_not_know_are_compared(poor: Path) -> None:
    rows = [*sentences(240, seed=8), *((f"{'7' * n} 8", "other") for n in range(1, 40))]
    write_csv(Path("new.csv"), ("text", "label"), rows)
    decision = retrain("reviews", "new.csv", accept_verdict=True)["decision"]
    assert decision["comparison"]["metric"] in ("accuracy", "macro_f1")
    assert decision["num_rows"] > 40


def test_another_version_that_became_live_meanwhile_stays(poor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.maintaining import retraining

    write_csv(Path("new.csv"), ("text", "label"), sentences(300, seed=8))
    judge = retraining._judge

    def meddled(*given: Any) -> tuple[bool, str]:
        with Registry(Path("registry")) as other:
            run = Path("runs") / "poor"
            (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text() + "\n")
            other.promote("reviews", other.add("reviews", run, accept_verdict=True).number)
        return judge(*given)

    monkeypatch.setattr(retraining, "_judge", meddled)
    with pytest.raises(GateError, match="meanwhile"):
        retrain("reviews", "new.csv", accept_verdict=True)
    with Registry(Path("registry")) as shelf:
        assert shelf.current("reviews").number == 2


def test_watching_counts_what_it_cannot_compare(poor: Path) -> None:
    texts = [text for text, _ in sentences(50)]
    requests = write_jsonl("requests.jsonl", [*texts, *texts[:7], "", "  "])
    drift = watch("runs/poor", requests)
    assert drift["requests"] == {"file": requests, "rows": 59, "repeated": 7, "without_text": 2}
    assert drift["num_rows"] == 50
    with pytest.raises(InputError, match="too few rows"):
        watch("runs/poor", write_jsonl("few.jsonl", texts[:10]))
    with pytest.raises(InputError, match="no level"):
        watch("runs/poor", requests, level=1.0)


def test_an_alarm_is_a_gate_on_the_terminal_too(poor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["watch", "runs/poor", write_jsonl("new.jsonl", [text for text, _ in chinese_sentences(60)])]) == 3
    shown = capsys.readouterr()
    assert "ALARM" in shown.out
    assert "Drift: 60 requests, taken together, differ" in shown.err
    assert start(["watch", "runs/poor", write_jsonl("same.jsonl", [text for text, _ in sentences(60)])]) == 0
    assert start(["registry", "show", "reviews"]) == 0
    assert "promote" in capsys.readouterr().out


def test_rows_from_memory_cannot_be_added_to(tiny_bert_folder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in sentences(60)]
    tunewright.run(rows, out="runs/memory", overrides=[f"model={tiny_bert_folder}", *SMALL, "train.epochs=1"])
    with Registry(Path("registry"), create=True) as shelf:
        shelf.add("memory", Path("runs/memory"), accept_verdict=True)
        shelf.promote("memory", 1)
    with pytest.raises(InputError, match="handed over in memory"):
        retrain("memory", "new.csv")
