"""The road end to end on a tiny model: continue, share, judge again, replay, stop, go on from an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from small_reviews import SMALL, chinese_sentences, sentences, write_csv

import tunewright
from tunewright.errors import GateError, InputError, Interrupted
from tunewright.pipeline import Watcher, judge_again
from tunewright.store.digest import sha256_file
from tunewright.store.events import EventLog

WEIGHTS = Path("model") / "model.safetensors"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """160 English reviews."""
    return write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(160))


@pytest.fixture
def chinese_reviews(tmp_path: Path) -> Path:
    """120 Chinese reviews with Chinese headers."""
    return write_csv(tmp_path / "评论.csv", ("评论", "标签"), chinese_sentences(120))


def go(what: object, out: Path, model: Path | None, *overrides: str, **options: Any) -> dict[str, Any]:
    """One run with the small settings."""
    named = () if model is None else (f"model={model}",)
    found: dict[str, Any] = tunewright.run(what, out=out, overrides=(*named, *SMALL, *overrides), **options)
    return found


def test_a_file_becomes_a_verdict(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    result = go(reviews, tmp_path / "run", tiny_bert_folder)
    ledger = result["ledger"]
    assert ledger["total"] == 160 == sum(ledger[name] for name in ("used", "truncated", "duplicate", "rejected"))
    assert result["verdict"]["outcome"] in ("better", "worse", "no evidence")
    assert {c["against"] for c in result["verdict"]["comparisons"]} == {
        "majority",
        "tfidf_lr",
        "nb_svm",
        "untouched_base",
    }
    assert result["metrics"]["accuracy"]["value"] > 0.8
    assert Path(result["report"]).read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8")) == result


def test_chinese_works_like_english(chinese_reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    result = go(chinese_reviews, tmp_path / "run", tiny_bert_folder)
    assert result["data"]["columns"] == {"text": "评论", "label": "标签"}
    assert result["metrics"]["accuracy"]["value"] > 0.8
    answers = tunewright.predict(tmp_path / "run", ["很好看的电影非常喜欢", "太难看了浪费时间"])
    assert [answer["label"] for answer in answers] == ["好评", "差评"]


def test_the_same_command_does_nothing_twice(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    first = go(reviews, tmp_path / "run", tiny_bert_folder)
    touched = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert go(reviews, tmp_path / "run", tiny_bert_folder) == first
    assert {path: path.stat().st_mtime_ns for path in touched} == touched


def test_another_rate_takes_the_data_from_its_neighbour(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    go(reviews, tmp_path / "one", tiny_bert_folder)
    go(reviews, tmp_path / "two", tiny_bert_folder, "train.lr=0.001")
    for name in ("data/train.arrow", "encoded/train.arrow"):
        assert (tmp_path / "one" / name).samefile(tmp_path / "two" / name)
    assert sha256_file(tmp_path / "one" / WEIGHTS) != sha256_file(tmp_path / "two" / WEIGHTS)


def test_a_folder_of_another_run_is_not_touched(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    go(reviews, tmp_path / "run", tiny_bert_folder)
    with pytest.raises(InputError, match="another run"):
        go(reviews, tmp_path / "run", tiny_bert_folder, "train.lr=0.001")


def test_stopped_and_resumed_equals_undisturbed(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    whole = go(reviews, tmp_path / "a" / "run", tiny_bert_folder)
    steps = 0

    def asked() -> bool:
        nonlocal steps
        steps += 1
        return steps == 5

    with pytest.raises(Interrupted):
        go(reviews, tmp_path / "b" / "run", tiny_bert_folder, watcher=Watcher(asked_to_stop=asked))
    assert not (tmp_path / "b" / "run" / "result.json").exists()
    resumed = go(reviews, tmp_path / "b" / "run", tiny_bert_folder)
    assert sha256_file(tmp_path / "a" / "run" / WEIGHTS) == sha256_file(tmp_path / "b" / "run" / WEIGHTS)
    for part in ("metrics", "verdict", "curves", "ledger"):
        assert resumed[part] == whole[part]
    facts = [[e["loss"] for e in EventLog(tmp_path / x / "run" / "events.jsonl").read("step")] for x in "ab"]
    assert facts[0] == facts[1]


def test_replay_is_bit_identical(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    original = go(reviews, tmp_path / "run", tiny_bert_folder)
    compared = tunewright.replay(tmp_path / "run")
    assert compared["identical"]
    assert compared["largest_difference"] == 0.0
    assert compared["verdicts"] == [original["verdict"]["outcome"]] * 2
    again = tunewright.replay(tmp_path / "run")
    assert again["identical"]
    for taken in (tmp_path / "run", tunewright.replay(tmp_path / "run", out=tmp_path / "beside")["original"]):
        with pytest.raises(InputError, match="no replay"):
            tunewright.replay(tmp_path / "run", out=taken)
    assert (tmp_path / "run" / WEIGHTS).is_file()


def test_replay_refuses_other_data(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    go(reviews, tmp_path / "run", tiny_bert_folder)
    reviews.write_text(reviews.read_text(encoding="utf-8").replace("wonderful", "wonderfuls", 1), encoding="utf-8")
    with pytest.raises(InputError, match="not those of the original"):
        tunewright.replay(tmp_path / "run")


def test_judging_again_trains_nothing(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    go(reviews, tmp_path / "run", tiny_bert_folder)
    before = sha256_file(tmp_path / "run" / WEIGHTS)
    result = judge_again(tmp_path / "run", overrides=["evaluate.metric=macro_f1", "report.rows=none"])
    assert result["verdict"]["metric"] == "macro_f1"
    assert result["errors"] == []
    assert sha256_file(tmp_path / "run" / WEIGHTS) == before


@pytest.mark.parametrize("model", ["tiny_gpt2_folder", "tiny_llama_folder"])
def test_decoders_classify(model: str, reviews: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    result = go(reviews, tmp_path / "run", request.getfixturevalue(model))
    assert result["model"]["kind"] == "decoder"
    assert result["metrics"]["accuracy"]["num_rows"] == result["data"]["splits"]["test"]


def test_one_sigmoid_output(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    result = go(reviews, tmp_path / "run", tiny_bert_folder, "task.name=classify", "task.output=sigmoid")
    assert result["metrics"]["accuracy"]["value"] > 0.8
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert len(config["id2label"]) == 1


def test_several_labels_per_row(tmp_path: Path, tiny_bert_folder: Path) -> None:
    rows = [
        (text, "|".join(["good"] * (label == "positive") + ["film"] * ("film" in text)))
        for text, label in sentences(200)
    ]
    named = [(text, labels or "none") for text, labels in rows]
    data = write_csv(tmp_path / "tags.csv", ("text", "tags"), named)
    result = go(data, tmp_path / "run", tiny_bert_folder)
    assert result["verdict"]["metric"] == "micro_f1"
    assert set(result["data"]["labels"]) == {"good", "film", "none"}
    answer = tunewright.predict(tmp_path / "run", ["a wonderful film"])[0]
    assert isinstance(answer["label"], list)


def test_a_run_goes_on_from_an_earlier_one(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    go(reviews, tmp_path / "runs" / "first", tiny_bert_folder)
    result = go(reviews, tmp_path / "runs" / "second", None, "base=run:first", "train.epochs=1")
    assert result["model"]["name"] == "run:first"
    assert result["metrics"]["accuracy"]["value"] > 0.8


def test_small_data_are_judged_out_of_fold(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_csv(tmp_path / "few.csv", ("text", "label"), sentences(90))
    result = go(
        data, tmp_path / "run", tiny_bert_folder, "evaluate.out_of_fold=true", "evaluate.out_of_fold_seconds=600"
    )
    assert result["judged_on"] == "out-of-fold"
    assert result["num_judged"] == 90
    assert result["metrics"]["accuracy"]["value"] > 0.8
    right = dict(sentences(90))
    assert all(right[error["text"]] == error["gold"] != error["answered"] for error in result["errors"])
    assert "fold" in result["verdict"]["design"]


@pytest.mark.parametrize("method", ["lora", "qlora", "head"])
def test_every_method_walks_the_road(
    method: str, chinese_reviews: Path, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    changed = [f"method={method}", "train.lr=0.005"]
    if method == "head":  # in a trunk of random weights the first token knows nothing of the others
        changed += ["task={name: classify, pooling: mean}", "train.epochs=30"]
    result = go(chinese_reviews, tmp_path / "run", tiny_bert_folder, *changed)
    assert result["method"] == method
    assert result["metrics"]["accuracy"]["value"] > 0.8
    stored = {path.parent.parent.name: path for path in (tmp_path / "run").rglob("weights.safetensors")}
    with safe_open(stored["checkpoints"], framework="pt") as weights:
        names = set(weights.keys())
    assert all(".lora_" in name or "head." in name for name in names)
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").is_file() == (method != "head")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_scores_the_rows_as_the_folded_model_does(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    import torch
    from peft import PeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    go(reviews, tmp_path / "run", tiny_bert_folder, "method=lora", "train.lr=0.01", "train.epochs=2")
    texts = ["a wonderful film", "这部电影很好看"]
    answers = tunewright.predict(tmp_path / "run", texts)
    stock = AutoModelForSequenceClassification.from_pretrained(tiny_bert_folder, num_labels=2)
    model = PeftModelForSequenceClassification.from_pretrained(stock, str(tmp_path / "run" / "adapter")).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert_folder)
    for text, answer in zip(texts, answers, strict=True):
        found = torch.softmax(model(**tokenizer(text, return_tensors="pt")).logits, dim=1)[0]
        assert answer["label"] == ("negative", "positive")[int(found.argmax())]
        assert answer["confidence"] == pytest.approx(float(found.max()), abs=1e-5)


def test_a_label_only_in_test_stops_the_run_until_it_is_allowed(tmp_path: Path, tiny_bert_folder: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ("text", "label"), sentences(100))
    test = write_csv(tmp_path / "test.csv", ("text", "label"), [*sentences(20, seed=9), ("an odd film", "strange")])
    with pytest.raises(GateError, match="strange") as stopped:
        go(train, tmp_path / "run", tiny_bert_folder, f"data.test_path={test}")
    allowed = stopped.value.hint
    result = go(train, tmp_path / "run2", tiny_bert_folder, f"data.test_path={test}", allowed)
    assert any(choice["path"] == "data.allow.label_not_trained" for choice in result["choices"])


def test_texts_are_cleaned_for_answers_as_they_were_for_training(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    go(reviews, tmp_path / "run", tiny_bert_folder, "data.clean=[html]", "train.epochs=1")
    plain, marked = tunewright.predict(tmp_path / "run", ["a good movie & more", " <b>a good movie</b> &amp; more\x07"])
    assert plain == marked


def test_the_first_command_comes_back_to_its_own_metric(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    first = go(reviews, tmp_path / "run", tiny_bert_folder)
    judge_again(tmp_path / "run", overrides=["evaluate.metric=macro_f1"])
    assert go(reviews, tmp_path / "run", tiny_bert_folder)["verdict"] == first["verdict"]


def test_names_are_checked_before_anything_is_written(reviews: Path, tmp_path: Path, tiny_bert_folder: Path) -> None:
    for wrong in ("evaluate.metric=acuracy", "evaluate.baselines=[nb_smv]", "data.clean=[htm]"):
        with pytest.raises(InputError, match="there is no"):
            go(reviews, tmp_path / "runs" / "run", tiny_bert_folder, wrong)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["reviews.csv"]


def test_a_run_that_dies_after_training_remembers_what_its_method_decided(
    reviews: Path, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    options = ("method=lora", "train.epochs=1")
    whole = go(reviews, tmp_path / "a" / "run", tiny_bert_folder, *options)
    for name in ("result.json", "report.html", "recipe.yaml"):  # as a kill before the report leaves it
        (tmp_path / "a" / "run" / name).unlink()
    again = go(reviews, tmp_path / "a" / "run", tiny_bert_folder, *options)
    assert [choice["path"] for choice in again["choices"]].count("method.targets") == 1
    assert (again["choices"], again["config"]) == (whole["choices"], whole["config"])
