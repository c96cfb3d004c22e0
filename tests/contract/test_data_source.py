"""Every file in ``data/source`` is a Source: it recognises its own files, reads them with true lines, and refuses others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tunewright import extensions
from tunewright.data.files import recognise_format
from tunewright.data.source.base import BaseSource, Layout, SourceConfig
from tunewright.errors import InputError
from tunewright.types import Record

ROWS = [
    {"text": "a good film, seen twice", "label": "pos"},
    {"text": "很差的电影", "label": "neg"},
    {"text": "so so", "label": "neg"},
]
WORDS = [
    {"tokens": ["a", "good", "film"], "tags": ["O", "B-pos", "O"]},
    {"tokens": ["很", "差"], "tags": ["B-neg", "I-neg"]},
    {"tokens": ["so", "so"], "tags": ["O", "O"]},
]
NAMES = extensions.names("data.source")


def _delimited(path: Path, mark: str) -> None:
    lines = [
        mark.join(("text", "label")),
        *(mark.join((f'"{r["text"]}"' if mark == "," else r["text"], r["label"])) for r in ROWS),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path)


# Name -> (suffix, how to write ROWS, lines on which they then begin). A source without an entry here fails the test.
WRITERS: dict[str, tuple[str, Callable[[Path], Any], list[int]]] = {
    "csv": (".csv", lambda path: _delimited(path, ","), [2, 3, 4]),
    "tsv": (".tsv", lambda path: _delimited(path, "\t"), [2, 3, 4]),
    "jsonl": (".jsonl", lambda path: path.write_text("\n".join(json.dumps(row) for row in ROWS)), [1, 2, 3]),
    "json": (".json", lambda path: path.write_text(json.dumps(ROWS, indent=1)), [2, 6, 10]),
    "parquet": (".parquet", _parquet, [1, 2, 3]),
    "pairs": (
        ".json",
        lambda path: path.write_text(json.dumps({"train": [list(row.values()) for row in ROWS]}, indent=1)),
        [3, 7, 11],
    ),
    "conll": (
        ".conll",
        lambda path: path.write_text(
            "\n".join("".join(f"{a}\t{b}\n" for a, b in zip(r["tokens"], r["tags"], strict=True)) for r in WORDS)
        ),
        [1, 5, 8],
    ),
    "txt": (
        ".txt",
        lambda path: path.write_text("".join(f"__label__{r['label']} {r['text']}\n" for r in ROWS)),
        [1, 2, 3],
    ),
}


ADDED: dict[str, dict[str, str]] = {"pairs": {"split": "train"}}
"""What a source says of each row beside its columns."""


def make(name: str, folder: Path) -> tuple[BaseSource, Path, list[int]]:
    suffix, write, lines = WRITERS[name]
    path = folder / f"rows{suffix}"
    write(path)
    source: BaseSource = extensions.load("data.source", name)()
    return source, path, lines


@pytest.mark.parametrize("name", NAMES)
def test_a_source_reads_what_was_written_with_true_lines(name: str, tmp_path: Path) -> None:
    source, path, lines = make(name, tmp_path)
    records = list(source.read(path))
    expected: Any = WORDS if name == "conll" else ROWS
    assert [dict(record.fields) for record in records] == [row | ADDED.get(name, {}) for row in expected]
    assert [record.origin.line for record in records] == lines
    assert [record.id for record in records] == [0, 1, 2]
    assert {record.origin.file for record in records} == {str(path)}
    assert all(isinstance(record, Record) for record in records)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_recognises_its_own_file_best(name: str, tmp_path: Path) -> None:
    _, path, _ = make(name, tmp_path)
    assert recognise_format(path) == name
    bare = tmp_path / "rows"
    bare.write_bytes(path.read_bytes())
    assert recognise_format(bare) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_source_describes_its_file(name: str, tmp_path: Path) -> None:
    source, path, _ = make(name, tmp_path)
    layout = source.layout(path)
    assert isinstance(layout, Layout)
    assert layout.encoding in ("utf-8", "binary")
    assert layout.columns in ((), ("text", "label"), ("tokens", "tags"))


@pytest.mark.parametrize("name", NAMES)
def test_a_source_refuses_noise_with_four_parts(name: str, tmp_path: Path) -> None:
    source, path, _ = make(name, tmp_path)
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(InputError) as caught:
        list(source.read(path))
    assert str(path) in caught.value.where
    assert caught.value.given
    assert caught.value.allowed
    assert caught.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_a_source_owns_its_options(name: str) -> None:
    config = extensions.load("data.source", name).Config  # type: ignore[attr-defined]
    assert issubclass(config, SourceConfig)
    assert all(field.description for field in config.model_fields.values())
