"""Text from text end to end on a tiny model: a table of sources and targets becomes a verdict, and new sources are answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_reviews import write_csv

import tunewright

SMALL = (
    "train.epochs=2", "train.batch_size=8", "train.dtype=fp32", "train.threads=1", "train.patience=0", "evaluate.resamples=200",
    "evaluate.generated_rows=12", "evaluate.max_new_tokens=6", "evaluate.few_shot=0", "task=generate",
    "task.instruction=Summarise.",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("writing")
    rows = [(f"the film {number} was good. and it was long {number}.", f"good film {number}") for number in range(70)]
    write_csv(folder / "pairs.csv", ("document", "summary"), rows)
    tunewright.run(folder / "pairs.csv", out=folder / "run", overrides=(f"model={tiny_llama_folder}", *SMALL))
    return folder / "run"


def test_a_table_of_pairs_becomes_a_verdict(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["task"] == "generate"
    assert result["data"]["columns"] == {"source": "document", "target": "summary"}
    assert {"lead", "copy_source", "tuned", "untouched_base", "ngram"} <= set(result["systems"])
    assert 0 < result["systems"]["lead"]["rouge_l"] < 1
    assert {"rouge_l_lead", "rouge_l_copy_source"} <= {each["name"] for each in result["verdict"]["checks"]}
    assert "held-out texts" in result["verdict"]["sentence"]
    assert "ROUGE-L" in (run / "report.html").read_text(encoding="utf-8")
    card = json.loads((run / "model" / "tunewright.json").read_text(encoding="utf-8"))
    assert (card["task"], card["options"]["instruction"]) == ("generate", "Summarise.")


def test_new_sources_are_answered(run: Path, tmp_path: Path) -> None:
    [typed] = tunewright.predict(run, ["the film 3 was good. and it was long 3."])
    write_csv(tmp_path / "new.csv", ("document", "id"), [("the film 3 was good. and it was long 3.", 7), ("", 8)])
    tunewright.predict_file(run, tmp_path / "new.csv", tmp_path / "out.jsonl")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["answer"] == typed["answer"]
    assert second["answer"] is None


def test_plain_texts_are_learnt_judged_and_gone_on_with(tmp_path: Path, tiny_llama_folder: Path) -> None:
    lines = [f"the film {number} was good and it was a great movie, wonderful {number}" for number in range(80)]
    (tmp_path / "domain.txt").write_text("\n".join(lines), encoding="utf-8")
    options = [one for one in SMALL if not one.startswith(("task", "evaluate.few_shot"))]
    result = tunewright.run(
        tmp_path / "domain.txt", out=tmp_path / "run",
        overrides=(f"model={tiny_llama_folder}", *options, "encode.max_length=16", "train.lr=0.003"),
    )  # fmt: skip
    assert result["task"] == "language"
    assert result["systems"]["tuned"]["perplexity"] < result["systems"]["untouched_base"]["perplexity"]
    assert {each["against"] for each in result["verdict"]["comparisons"]} == {"untouched_base", "ngram"}
    assert not {"stop_rate", "chrf_difference"} & {each["name"] for each in result["verdict"]["checks"]}
    assert result["ledger"]["truncated"] == 0
    [answer] = tunewright.predict(tmp_path / "run", ["the film 3 was"])
    assert isinstance(answer["answer"], str)
    chat = [{"prompt": line[:20], "completion": line[20:]} for line in lines]
    handed = tunewright.run(chat, out=tmp_path / "chat", overrides=(*options, "base=run:run", "evaluate.few_shot=0"))
    assert handed["task"] == "chat"


def test_texts_in_pieces_are_exported_watched_and_talked_with(tmp_path: Path, tiny_llama_folder: Path) -> None:
    from tunewright.chatting import open_talk, reply
    from tunewright.deploying import export
    from tunewright.maintaining.watching import watch
    from tunewright.types import Sampling

    lines = [
        "wonderful",
        *(f"the film {number} was good and it was a great movie, wonderful {number}" for number in range(80)),
    ]
    (tmp_path / "domain.txt").write_text("\n".join(lines), encoding="utf-8")
    options = [one for one in SMALL if not one.startswith(("task", "evaluate.few_shot"))]
    tunewright.run(
        tmp_path / "domain.txt",
        out=tmp_path / "run",
        overrides=(f"model={tiny_llama_folder}", *options, "encode.max_length=12"),
    )
    assert export(tmp_path / "run", tmp_path / "out")["certificate"]["passed"]
    assert not watch(tmp_path / "run", tmp_path / "domain.txt")["is_alarm"]
    talk = open_talk(tmp_path / "run", sampling=Sampling(max_tokens=4))
    try:
        [said] = reply(talk, ["the film"])
    finally:
        talk.close()
    assert isinstance(said["tuned"], str)


def test_a_summary_is_asked_for_as_it_was_learnt(run: Path) -> None:
    from tunewright.chatting import open_talk
    from tunewright.types import Sampling

    talk = open_talk(run, sampling=Sampling(max_tokens=2))
    try:
        list(talk.say("tuned", "Long."))
        assert talk._messages["tuned"][0]["content"] == "Summarise.\n\nLong."
    finally:
        talk.close()
