"""Prepare: every row accounted for, splits that hold their promises, errors that say what to type."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tunewright.data.inputs import Input, look
from tunewright.data.prepare import Prepare, dataset_key, open_dataset, prepare
from tunewright.errors import GateError, InputError, TunewrightError
from tunewright.types import Dataset, read_arrow

Write = Callable[[str, str | bytes], str]
Rows = list[tuple[str, str]]


def csv_of(rows: Rows) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)


def ids(dataset: Dataset) -> list[int]:
    """Every id in the tables and the ledger file, sorted."""
    tables = [dataset.table(split) for split in dataset.splits] + [read_arrow(dataset.folder / "ledger.arrow")]
    return sorted(number for table in tables for number in table.column("id").to_pylist())


def texts(dataset: Dataset, split: str) -> list[str]:
    found: list[str] = dataset.table(split).column("text").to_pylist()
    return found


def codes(dataset: Dataset) -> set[str]:
    return {finding.code for finding in dataset.findings}


def test_every_row_is_in_one_place(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    rows = [*reviews, (reviews[0][0].upper() + "!", reviews[0][1]), ("", "pos"), ("no label here", "")]
    made = prepare(Prepare.Config(path=write("a.csv", csv_of(rows))), task, tmp_path / "out")
    assert made.ledger.as_json() == {
        "used": 100, "truncated": 0, "duplicate": 1, "rejected": 2, "total": 103, "reasons": {"no text": 1, "no label": 1},
    }  # fmt: skip
    assert ids(made) == list(range(103))
    assert dict(made.splits) == {"train": 70, "validation": 10, "test": 20}
    ledger = read_arrow(made.folder / "ledger.arrow").to_pylist()
    assert [(row["id"], row["line"], row["outcome"], row["duplicate_of"]) for row in ledger] == [
        (100, 102, "duplicate", 0), (101, 103, "rejected", None), (102, 104, "rejected", None),
    ]  # fmt: skip
    table = made.table("train")
    assert table.schema.names == ["id", "file", "line", "text", "label"]
    assert table.schema.field("label").type == pa.list_(pa.string())
    assert table.column("line").to_pylist() == [number + 2 for number in table.column("id").to_pylist()]
    assert made.labels == ("neg", "pos")
    assert made.label_counts["test"] == {"neg": 10, "pos": 10}
    assert made.facts.scripts.keys() == {"Latin", "Han"}
    assert open_dataset(tmp_path / "out", verify=True) == made


def test_splits_follow_content_not_order(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    first = prepare(Prepare.Config(path=write("a.csv", csv_of(reviews))), task, tmp_path / "one")
    second = prepare(Prepare.Config(path=write("b.csv", csv_of(reviews[::-1]))), task, tmp_path / "two")
    other = prepare(Prepare.Config(path=write("a.csv", csv_of(reviews)), seed=1), task, tmp_path / "three")
    assert set(texts(first, "test")) == set(texts(second, "test"))
    assert set(texts(first, "test")) != set(texts(other, "test"))
    assert texts(first, "test") == texts(second, "test")[::-1]


def test_the_same_command_finds_its_data_again(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    config = Prepare.Config(path=write("a.csv", csv_of(reviews)))
    first = prepare(config, task, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert prepare(config, task, tmp_path / "out") == first
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before
    assert first.fingerprint == dataset_key(config, task, look(config))
    write("a.csv", csv_of(reviews[:-1]))
    assert prepare(config, task, tmp_path / "out").ledger.total == 99
    assert dataset_key(config, task, look(config)) != first.fingerprint


def test_the_users_own_splits_are_kept_and_leaks_leave_training(
    task: Any, write: Write, reviews: Rows, tmp_path: Path
) -> None:
    train, test = reviews[:80], [*reviews[80:], reviews[3], ("only here", "strange")]
    config = Prepare.Config(path=write("train.csv", csv_of(train)), test_path=write("test.csv", csv_of(test)))
    made = prepare(config, task, tmp_path / "out")
    assert set(texts(made, "test")) == {text for text, _ in test}
    assert reviews[3][0] not in texts(made, "train") + texts(made, "validation")
    assert made.splits["train"] + made.splits["validation"] == 79
    found = {finding.code: finding for finding in made.findings}
    assert found["leak"].origins == (f"{config.path}:5",)
    assert found["label_not_trained"].severity == "violation"
    assert "strange" in found["label_not_trained"].message
    assert ids(made) == list(range(102))


@pytest.mark.parametrize(
    ("column", "names"), [("split", ("train", "dev", "test")), ("数据集", ("训练", "验证", "测试"))]
)
def test_a_split_column_is_found(
    column: str, names: tuple[str, ...], task: Any, write: Write, reviews: Rows, tmp_path: Path
) -> None:
    rows = [
        {"text": t, "label": c, column: names[0 if n < 70 else 1 if n < 80 else 2]} for n, (t, c) in enumerate(reviews)
    ]
    path = write("a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    made = prepare(Prepare.Config(path=path), task, tmp_path / "out")
    assert texts(made, "train") == [text for text, _ in reviews[:70]]
    assert texts(made, "test") == [text for text, _ in reviews[80:]]
    assert any(choice.path == "data.split" and choice.value == column for choice in made.choices)


def test_a_label_of_the_task_itself_needs_no_training_row(
    task: Any, write: Write, reviews: Rows, tmp_path: Path
) -> None:
    task.stored = (task.stored[0], replace(task.stored[1], labels=("其他",)))
    path, test_path = write("a.csv", csv_of(reviews)), write("b.csv", csv_of([("天气怎么样", "其他")]))
    made = prepare(Prepare.Config(path=path, test_path=test_path), task, tmp_path / "out")
    assert made.label_counts["test"] == {"其他": 1}
    assert not {"label_not_trained", "label_without_rows"} & codes(made)
    without = prepare(Prepare.Config(path=path), task, tmp_path / "without")
    (found,) = [finding for finding in without.findings if finding.code == "label_without_rows"]
    assert (found.severity, "其他" in found.message) == ("warning", True)
    task.stored = (task.stored[0], replace(task.stored[1], labels=("poss",)))
    typed = prepare(Prepare.Config(path=path), task, tmp_path / "typed")
    assert any("did you mean pos?" in finding.message for finding in typed.findings)


def test_no_group_crosses(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    path = write("a.csv", "text,label,author\n" + "".join(f"{t},{c},{n // 5}\n" for n, (t, c) in enumerate(reviews)))
    made = prepare(Prepare.Config(path=path, group="author"), task, tmp_path / "out")
    groups = {split: {number // 5 for number in made.table(split).column("id").to_pylist()} for split in made.splits}
    assert all(groups.values())
    assert sum(map(len, groups.values())) == 20


def test_conflicting_labels_keep_the_commonest(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    rows = [*reviews, ("Same text.", "pos"), ("same  text", "neg"), ("SAME TEXT!", "neg")]
    made = prepare(Prepare.Config(path=write("a.csv", csv_of(rows))), task, tmp_path / "out")
    kept = [row for split in made.splits for row in made.table(split).to_pylist() if row["id"] >= 100]
    assert [(row["id"], row["label"]) for row in kept] == [(101, ["neg"])]
    assert "label_conflict" in codes(made)
    reasons = {row["id"]: row["reason"] for row in read_arrow(made.folder / "ledger.arrow").to_pylist()}
    assert reasons == {100: "same text with another label", 102: "same text"}


def test_small_classes_train_and_are_named(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    rows = [
        *reviews,
        ("a rare one", "rare"),
        ("two of a kind", "rare"),
        *((f"third kind {n}", "three") for n in range(3)),
    ]
    made = prepare(Prepare.Config(path=write("a.csv", csv_of(rows))), task, tmp_path / "out")
    assert made.label_counts["train"]["rare"] == 2
    assert (made.label_counts["train"]["three"], made.label_counts["test"]["three"]) == (2, 1)
    assert {"tiny_class", "imbalance"} <= codes(made)


def test_rows_in_memory_are_read_alike(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    dicts = [{"text": text, "label": label, "n": n} for n, (text, label) in enumerate(reviews)]
    frame = pd.DataFrame(dicts)
    frame.loc[5, "label"] = None
    made = [
        prepare(Prepare.Config(), task, tmp_path / str(n), rows=rows)
        for n, rows in enumerate([dicts, frame, pa.Table.from_pylist(dicts)])
    ]
    assert texts(made[0], "train") == texts(made[2], "train")
    assert (made[1].ledger.rejected, made[0].ledger.rejected) == (1, 0)
    assert made[0].table("train").column("file").to_pylist()[0] == "<rows>"
    assert read_arrow(made[1].folder / "ledger.arrow").to_pylist()[0]["line"] == 6
    with pytest.raises(InputError, match="not a table"):
        prepare(Prepare.Config(), task, tmp_path / "x", rows=5)
    with pytest.raises(InputError, match="not a dict"):
        prepare(Prepare.Config(), task, tmp_path / "x", rows=["text"])


def test_lists_of_labels_arrive_as_lists(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    lines = [json.dumps({"text": t, "tags": [c, "all"] if n % 3 else [c]}) for n, (t, c) in enumerate(reviews)]
    made = prepare(Prepare.Config(path=write("a.jsonl", "\n".join(lines))), task, tmp_path / "out")
    assert made.labels == ("all", "neg", "pos")
    written = "text,tags\n" + "".join(f"{t},\"['{c}', 'all']\"\n" for t, c in reviews)
    again = prepare(Prepare.Config(path=write("b.csv", written)), task, tmp_path / "two")
    assert again.labels == ("all", "neg", "pos")


def test_cleaners_are_applied_to_texts(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    rows = [(f"<b>{text}</b>　ＯＫ", label) for text, label in reviews]
    made = prepare(Prepare.Config(path=write("a.csv", csv_of(rows)), clean=["html", "width"]), task, tmp_path / "out")
    assert set(texts(made, "train")) <= {f"{text} OK" for text, _ in reviews}
    with pytest.raises(TunewrightError, match="there is no clean of this name"):
        prepare(Prepare.Config(path=write("a.csv", csv_of(rows)), clean=["htlm"]), task, tmp_path / "x")


def test_columns_may_be_told_by_name_number_and_path(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    path = write("a.jsonl", "\n".join(json.dumps({"a": {"b": text}, "c": label}) for text, label in reviews))
    made = prepare(Prepare.Config(path=path, columns={"text": "a.b", "label": "c"}), task, tmp_path / "one")
    assert made.ledger.used == 100
    bare = write("b.csv", "".join(f"{label},{text}\n" for text, label in reviews))
    made = prepare(Prepare.Config(path=bare, columns={"text": 2, "label": 1}), task, tmp_path / "two")
    assert dict(made.columns) == {"text": "column_2", "label": "column_1"}


def test_too_many_rejected_rows_stop_at_the_gate(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    rows = [*reviews, *(("", "pos") for _ in range(11))]
    config = Prepare.Config(path=write("a.csv", csv_of(rows)))
    with pytest.raises(GateError) as caught:
        prepare(config, task, tmp_path / "out")
    assert str(caught.value).count("a.csv:") == 6
    assert "a.csv:102: no text" in str(caught.value)
    switch, _, value = caught.value.hint.rpartition(" ")[2].partition("=")
    assert switch == "data.max_rejected"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]
    assert (
        prepare(config.model_copy(update={"max_rejected": float(value)}), task, tmp_path / "out").ledger.rejected == 11
    )


def test_a_file_that_changes_is_refused(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    path = write("a.csv", csv_of(reviews))

    def change(label: str, done: float, total: float | None, note: str) -> None:
        if label == "compare":
            state = Path(path).stat()
            Path(path).write_text(csv_of(reviews).replace("good", "best"))
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    with pytest.raises(InputError, match="changed while it was read"):
        prepare(Prepare.Config(path=path), task, tmp_path / "out", tell=change)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


BAD: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("empty.csv", "", {}, "there is no row"),
    ("blank.csv", "\n\n  \n", {}, "there is no row"),
    ("header.csv", "text,label\n", {}, "there is no row"),
    ("noise.csv", bytes(range(256)) * 50, {}, "binary data"),
    ("sheet.csv", b"PK\x03\x04" + b"\0" * 50, {}, "zip or Office"),
    ("broken.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "label\n', {}, "broken JSON"),
    ("one.csv", "text,label\n" + "".join(f"a text that goes on {n},same\n" for n in range(30)), {}, "the same label"),
    (
        "column.csv",
        "review,stars\n" + "".join(f"good film {n},{n % 2}\n" for n in range(30)),
        {"columns": {"text": "reviews"}},
        "no column",
    ),
    (
        "field.csv",
        "review,stars\n" + "".join(f"good film {n},{n % 2}\n" for n in range(30)),
        {"columns": {"txt": "review"}},
        "no field",
    ),
    ("text.txt", "only texts here\nand no label\n" * 20, {}, "no column was recognised"),
    ("folder.csv", "x,y\n" * 20, {"path": "."}, "this is a folder"),
    (
        "group.csv",
        "text,label\n" + "".join(f"good film {n},{n % 2}\n" for n in range(30)),
        {"group": "autor"},
        "no column",
    ),
    (
        "test.csv",
        "text,label\n" + "".join(f"good film {n},{n % 2}\n" for n in range(30)),
        {"test_path": "test.csv"},
        "same content",
    ),
]


@pytest.mark.parametrize(("name", "content", "options", "problem"), BAD, ids=[bad[0] for bad in BAD])
def test_bad_input_has_four_parts_and_writes_nothing(
    name: str,
    content: str | bytes,
    options: dict[str, Any],
    problem: str,
    task: Any,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(name, content)
    with pytest.raises(InputError, match=problem) as caught:
        prepare(Prepare.Config(**{"path": name, **options}), task, tmp_path / "out")
    assert caught.value.where
    assert caught.value.given
    assert caught.value.allowed
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_file_names_the_nearest(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    path = write("reviews.csv", csv_of(reviews))
    with pytest.raises(InputError) as caught:
        prepare(Prepare.Config(path=str(tmp_path / "review.csv")), task, tmp_path / "out")
    assert caught.value.hint == f"did you mean {path}?"


def test_two_label_columns_are_asked_about(task: Any, write: Write, reviews: Rows, tmp_path: Path) -> None:
    body = "".join(f"{text},{label},{'a' if n % 3 else 'b'}\n" for n, (text, label) in enumerate(reviews))
    with pytest.raises(InputError, match="not clear which column") as caught:
        prepare(Prepare.Config(path=write("a.csv", "text,sentiment,category\n" + body)), task, tmp_path / "out")
    assert caught.value.hint == "data.columns='{text: text, label: sentiment}'"


def test_an_input_verifies_itself(write: Write) -> None:
    from tunewright.data.files import find_input, open_input

    path = write("a.csv", "text,label\na,b\n")
    opened = open_input(find_input(path))
    entry = Input(path, -1, opened.input.fingerprint.sha256, opened)
    entry.verify_unchanged()
    Path(path).unlink()
    with pytest.raises(InputError, match="changed"):
        entry.verify_unchanged()
