"""Preferences end to end on a tiny model: pairs of answers become a verdict, an adapter, and answers to new prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tunewright
from tunewright.adapt.preference import read_preference
from tunewright.errors import InputError

SMALL = (
    "train.epochs=3", "train.batch_size=8", "train.dtype=fp32", "train.threads=1", "train.patience=0", "evaluate.resamples=200",
    "evaluate.generated_rows=12", "evaluate.max_new_tokens=6", "train.lr=0.002",
)  # fmt: skip
WORDS = ("film", "movie", "很好看的电影", "actors", "it")


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"how was the {WORDS[number % 5]} {number}",
            "chosen": f"great and good {WORDS[number % 3]}",
            "rejected": f"bad and boring {WORDS[number % 4]}",
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_pairs_become_a_verdict(method: str, tmp_path: Path, tiny_llama_folder: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs(90)), encoding="utf-8")
    lr = () if method == "full" else ("train.lr=0.02",)
    result = tunewright.run(
        file, out=tmp_path / "run", overrides=(f"model={tiny_llama_folder}", f"method={method}", *SMALL, *lr)
    )
    assert result["task"] == "prefer"
    assert result["data"]["columns"] == {name: name for name in ("prompt", "chosen", "rejected")}
    assert result["metrics"]["preference_accuracy"]["value"] == 1.0
    assert {each["against"] for each in result["verdict"]["comparisons"]} == {"untouched_base", "answer_length"}
    assert "stop_rate" in {each["name"] for each in result["verdict"]["checks"]}
    assert "Preference accuracy" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    [answer] = tunewright.predict(tmp_path / "run", ["how was the film"])
    assert isinstance(answer["answer"], str)


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path, tiny_llama_folder: Path) -> None:
    """The reference is that of the base, also where weights have moved before it is taken again."""
    from tunewright.errors import Interrupted
    from tunewright.pipeline import Watcher
    from tunewright.store.digest import sha256_file

    calls = iter(range(1000))
    options = (f"model={tiny_llama_folder}", *SMALL)
    with pytest.raises(Interrupted):
        tunewright.run(
            pairs(90), out=tmp_path / "cut", overrides=options, watcher=Watcher(asked_to_stop=lambda: next(calls) > 8)
        )
    for name in ("cut", "whole"):
        tunewright.run(pairs(90), out=tmp_path / name, overrides=options)
    weights = [tmp_path / name / "model" / "model.safetensors" for name in ("cut", "whole")]
    assert sha256_file(weights[0]) == sha256_file(weights[1])


USER = {"from": "human", "value": "Hi"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "A", "rejected": "B"},
        {"instruction": "Hi", "input": "", "chosen": "A", "rejected": "B"},
        {"messages": [USER], "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}},
        {"messages": json.dumps([USER]), "chosen": "A", "rejected": ["B"]},
        {
            "prompt": [{"role": "user", "content": "Hi"}],
            "chosen": [{"role": "assistant", "content": "A"}],
            "rejected": [{"role": "assistant", "content": "B"}],
        },
        {"prompt": json.dumps([USER]), "chosen": json.dumps({"from": "gpt", "value": "A"}), "rejected": "B"},
        {
            "chosen": [USER, {"role": "assistant", "content": "A"}],
            "rejected": [USER, {"role": "assistant", "content": "B"}],
        },
    ],
)
def test_pairs_are_read_in_every_form(row: dict[str, Any]) -> None:
    assert read_preference(row, "") == ([{"role": "user", "content": "Hi"}], "A", "B")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Hi", "chosen": "A", "rejected": "A"}, "both answers are the same"),
        ({"prompt": "Hi", "chosen": "", "rejected": "A"}, "empty chosen"),
        ({"chosen": "B", "rejected": "A"}, "empty prompt"),
        (
            {"chosen": [USER, {"content": "A"}], "rejected": [{"from": "human", "value": "x"}, {"content": "B"}]},
            "different dialogues",
        ),
    ],
)
def test_a_pair_that_cannot_be_used_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_preference(row, "")


def test_an_encoder_cannot_be_asked(tmp_path: Path, tiny_bert_folder: Path) -> None:
    with pytest.raises(InputError):
        tunewright.run(pairs(60), out=tmp_path / "run", overrides=(f"model={tiny_bert_folder}", *SMALL))


@pytest.mark.parametrize("answer", ['{"name": "Ada"}', '["a", "b"]', '{"content": "x", "k": 1}', "[sic] no", "{"])
def test_an_answer_that_is_json_is_a_text(answer: str) -> None:
    assert read_preference({"prompt": "Hi", "chosen": answer, "rejected": "B"}, "")[1] == answer


def test_a_live_model_is_challenged_by_new_pairs(tmp_path: Path, tiny_llama_folder: Path) -> None:
    from tunewright.maintaining.comparing import contest

    for name, lr in (("live", "train.lr=0.0001"), ("challenger", "train.lr=0.002")):
        tunewright.run(pairs(90), out=tmp_path / name, overrides=(f"model={tiny_llama_folder}", *SMALL, lr))
    result = json.loads((tmp_path / "challenger" / "result.json").read_text(encoding="utf-8"))
    other = tunewright.run(
        [{**row, "prompt": f"so {row['prompt']}"} for row in pairs(90)], out=tmp_path / "other",
        overrides=(f"model={tiny_llama_folder}", *SMALL),
    )  # fmt: skip
    found = contest(tmp_path / "live", tmp_path / "other", other, "the live version", lambda *_: None)
    assert found.num_rows > 0
    assert found.comparison is not None
    assert found.comparison.metric == "preference_accuracy"
    assert (
        contest(tmp_path / "live", tmp_path / "challenger", result, "the live version", lambda *_: None).num_rows >= 0
    )


def test_only_what_has_one_unit_decides(tmp_path: Path, tiny_llama_folder: Path) -> None:
    with pytest.raises(InputError, match="other units for other systems"):
        tunewright.run(
            pairs(90), out=tmp_path / "run",
            overrides=(f"model={tiny_llama_folder}", *SMALL, "evaluate.metric=preference_margin"),
        )  # fmt: skip
