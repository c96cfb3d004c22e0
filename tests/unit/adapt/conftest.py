"""Datasets of a few rows, and a base of each kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tunewright.types import Base, Dataset, Facts, Ledger

Rows = Sequence[tuple[str, list[str]]]


def table_of(rows: Rows, first_id: int = 0) -> pa.Table:
    """Prepared rows: (text, labels)."""
    columns = {
        "id": pa.array(range(first_id, first_id + len(rows)), pa.int64()),
        "file": pa.array(["rows.csv"] * len(rows), pa.string()),
        "line": pa.array(range(2, len(rows) + 2), pa.int32()),
        "text": pa.array([text for text, _ in rows], pa.string()),
        "label": pa.array([labels for _, labels in rows], pa.list_(pa.string())),
    }
    return pa.table(columns)


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    return table_of


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """A prepared data set: rows by split, and how many duplicates and rejected rows there were besides."""

    def make(splits: Mapping[str, Rows], *, duplicate: int = 0, rejected: int = 0, fingerprint: str = "f") -> Dataset:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        first_id = 0
        for split, rows in splits.items():
            table = table_of(rows, first_id)
            first_id += len(rows)
            with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=3)
        used = sum(len(rows) for rows in splits.values())
        reasons = {"empty text": rejected} if rejected else {}
        return Dataset(
            folder=folder,
            splits={split: len(rows) for split, rows in splits.items()},
            columns={"text": "text", "label": "label"},
            labels=tuple(sorted({label for rows in splits.values() for _, labels in rows for label in labels})),
            label_counts={
                split: Counter(label for _, labels in rows for label in labels) for split, rows in splits.items()
            },
            ledger=Ledger(
                used=used, truncated=0, duplicate=duplicate, rejected=rejected, total=used + duplicate + rejected,
                reasons=reasons,
            ),
            findings=(),
            facts=Facts(num_rows=used, mean_characters=10.0, p99_characters=20, scripts={"latin": 1.0}),
            files=(),
            choices=(),
            fingerprint=fingerprint,
        )  # fmt: skip

    return make


def base_in(folder: Path) -> Base:
    """The base in a folder of the shared fixtures."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config["model_type"]
    return Base(
        name=folder.name, folder=folder, architecture=architecture,
        kind="encoder" if architecture == "bert" else "decoder", num_parameters=1000, max_positions=128,
        vocabulary_size=config["vocab_size"], licence="Apache-2.0", source="test", digest=folder.name, reason="test",
    )  # fmt: skip


@pytest.fixture
def bert(tiny_bert_folder: Path) -> Base:
    return base_in(tiny_bert_folder)


@pytest.fixture
def gpt2(tiny_gpt2_folder: Path) -> Base:
    return base_in(tiny_gpt2_folder)


@pytest.fixture
def llama(tiny_llama_folder: Path) -> Base:
    return base_in(tiny_llama_folder)


@pytest.fixture
def moved(tmp_path: Path) -> Callable[[Base], Base]:
    """The same base in a folder that a test may change."""
    import shutil

    return lambda base: replace(base, folder=Path(shutil.copytree(base.folder, tmp_path / "moved")))
