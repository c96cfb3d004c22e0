"""Sequence labelling end to end on a tiny model: from a file of tagged words or of spans to answers over HTTP."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, cast

import httpx2
import numpy as np
import pytest
from small_reviews import SMALL

import tunewright
from tunewright.deploying import export
from tunewright.errors import InputError
from tunewright.report.config import Report
from tunewright.server.limits import Limits
from tunewright.server.listen import listening
from tunewright.server.opening import open_model
from tunewright.server.served import Served

PEOPLE, PLACES = ("good", "bad", "great", "wonderful"), ("film", "movie", "很好看的", "电影")
FASTER = ("train.lr=0.01", "train.epochs=6")


def visits(count: int) -> list[dict[str, Any]]:
    """Words that the tiny model knows: two kinds of names, in two languages."""
    random = np.random.default_rng(3)
    rows = []
    for number in range(count):
        who, where = random.choice(PEOPLE), random.choice(PLACES)
        text = f"the {who} was in {where} and of it {number}"
        at = text.index(where)
        spans = [
            {"start": 4, "end": 4 + len(who), "label": "person"},
            {"start": at, "end": at + len(where), "label": "place"},
        ]
        rows.append({"text": text, "entities": spans})
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_bert_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("tagging")
    file = folder / "visits.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in visits(160)), encoding="utf-8")
    tunewright.run(file, out=folder / "run", overrides=(f"model={tiny_bert_folder}", *SMALL, *FASTER))
    return folder / "run"


def test_a_file_of_spans_becomes_a_verdict(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["task"] == "tag"
    assert result["data"]["columns"] == {"spans": "entities", "text": "text"}
    assert result["metrics"]["entity_f1"]["value"] > 0.9
    assert {each["against"] for each in result["verdict"]["comparisons"]} == {
        "gazetteer", "perceptron_tagger", "untouched_base",
    }  # fmt: skip
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "How spans go wrong" in page
    assert "Span F1" in page


def test_sentences_are_answered_with_their_own_characters(run: Path) -> None:
    text = "  the wonderful was in 很好看的 and of it"
    [answer] = cast("list[dict[str, Any]]", tunewright.predict(run, [text]))
    for span in answer["spans"]:
        assert text[span["start"] : span["end"]] == span["text"]
        assert 0.0 < span["score"] <= 1.0
    assert ("wonderful", "person") in {(span["text"], span["label"]) for span in answer["spans"]}
    assert tunewright.predict(run, [" "]) == [{"spans": None}]


def test_files_are_answered(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "new.jsonl"
    rows.write_text('{"text": "the great was in film and of it"}\n{"text": ""}\n', encoding="utf-8")
    tunewright.predict_file(run, rows, tmp_path / "out.jsonl")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["spans"]
    assert second["spans"] is None
    words = tmp_path / "new.conll"
    words.write_text("the\tO\ngreat\tB-person\nwas\tO\nin\tO\nfilm\tB-place\n\nof\tO\nit\tO\n", encoding="utf-8")
    tunewright.predict_file(run, words, tmp_path / "words.jsonl")
    assert (
        json.loads((tmp_path / "words.jsonl").read_text(encoding="utf-8").splitlines()[0])["spans"][0]["text"]
        == "great"
    )


def test_it_is_served_and_exported(run: Path, tmp_path: Path) -> None:
    exported = export(run, tmp_path / "out")
    assert exported["certificate"]["passed"]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "token-classification" in card
    assert "AutoModelForTokenClassification" in card
    with listening(Served(open_model(str(tmp_path / "out"))), Limits.Config(), port=0) as address:
        answer = httpx2.post(f"{address}/v1/tag", json={"input": ["the good was in film and of it", ""]}).json()
        refused = httpx2.post(f"{address}/v1/classify", json={"input": "x"})
    assert [each["index"] for each in answer["results"]] == [0, 1]
    assert answer["results"][0]["spans"][0]["text"] == "good"
    assert answer["results"][1]["spans"] == []
    assert refused.status_code == 404
    assert "/v1/tag" in refused.json()["error"]["message"]


def test_words_with_tags_train_with_an_adapter(tmp_path: Path, tiny_bert_folder: Path) -> None:
    file = tmp_path / "words.conll"
    lines = []
    for row in visits(120):
        marks = {one["start"]: one for one in row["entities"]}
        at = 0
        for word in row["text"].split(" "):
            lines.append(f"{word}\t{'B-' + marks[at]['label'] if at in marks else 'O'}")
            at += len(word) + 1
        lines.append("")
    file.write_text("\n".join(lines), encoding="utf-8")
    result = tunewright.run(
        file,
        out=tmp_path / "run",
        overrides=(f"model={tiny_bert_folder}", "method=lora", *SMALL, *FASTER, "task=tag", "task.scheme=bioes"),
    )
    assert result["task"] == "tag"
    assert result["metrics"]["entity_f1"]["value"] > 0.5
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["task_type"] == "TOKEN_CLS"


def test_rows_without_any_span_are_refused(tmp_path: Path, tiny_bert_folder: Path) -> None:
    rows = [{"text": f"the film {number}", "spans": []} for number in range(60)]
    with pytest.raises(InputError, match="no row has a labelled span"):
        tunewright.run(
            rows,
            out=tmp_path / "run",
            overrides=(f"model={tiny_bert_folder}", "task=tag", *SMALL, "data.columns={spans: spans, text: text}"),
        )


def test_a_search_may_vary_the_task(tmp_path: Path, tiny_bert_folder: Path) -> None:
    tuned = {"trials": 2, "space": {"task.scheme": ["bio", "bioes"]}, "strategy": "grid", "pruner": "none"}
    options = (f"model={tiny_bert_folder}", "task=tag", *SMALL, "train.epochs=2")
    result = tunewright.tune(visits(120), out=tmp_path / "search", overrides=options, tune=tuned)
    assert {trial["parameters"]["task.scheme"] for trial in result["search"]["trials"]} == {"bio", "bioes"}


def test_names_are_as_private_as_the_text_that_they_stand_in(run: Path) -> None:
    errors = [{"text": "call 555-123-4567", "gold": "555-123-4567 (phone)", "answered": "", "quotes": True, "index": 0}]
    masked = Report(Report.Config(rows="text")).policy.select(errors)[0]
    assert "555-123-4567" not in json.dumps(masked)
    kept = Report(Report.Config(rows="ids")).policy.select(errors)[0]
    assert not {"text", "gold", "answered"} & set(kept)
    stored = json.loads((run / "result.json").read_text(encoding="utf-8"))["errors"]
    assert all(error["quotes"] is True for error in stored)


def test_a_head_alone_and_a_split_without_names_are_refused_before_training(
    tmp_path: Path, tiny_bert_folder: Path
) -> None:
    options = (f"model={tiny_bert_folder}", "task=tag", *SMALL)
    with pytest.raises(InputError, match="only a fresh head that answers whole texts"):
        tunewright.run(visits(80), out=tmp_path / "head", overrides=(*options, "method=head"))
    empty = tmp_path / "empty.jsonl"
    empty.write_text(
        "".join(json.dumps({"text": f"the film {n}", "entities": []}) + "\n" for n in range(20)), encoding="utf-8"
    )
    file = tmp_path / "visits.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in visits(80)), encoding="utf-8")
    with pytest.raises(InputError, match="no labelled spans in the test rows"):
        tunewright.run(file, out=tmp_path / "run", overrides=(*options, f"data.test_path={empty}"))


def test_cells_of_tables_are_read_and_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(
        'tokens,id\n"[""the"", ""great"", ""was""]",1\n"[\'of\', \'it\']",2\n', encoding="utf-8"
    )
    tunewright.predict_file(run, tmp_path / "new.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = [json.loads(row["spans"]) for row in csv.DictReader(file)]
    assert all(isinstance(cell, list) for cell in cells)
    assert cells[0][0]["text"] == "great"
