"""Write rows with the user's own columns and what was answered: csv, tsv, jsonl, json or parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tunewright.store.output import writing

SEPARATOR = "|"
WRITERS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


class Records(list[object]):
    """A list that is JSON in a cell of a table, also where it is empty."""


def write_rows(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write the rows to ``target`` by its suffix, one of ``WRITERS``; nothing stands there until all are written."""
    with writing(target) as temporary:
        _write(target.suffix.lower(), temporary, columns, rows)


def _write(suffix: str, path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    with ExitStack() as stack:
        if suffix == ".parquet":
            _write_parquet(path, rows)
            return
        file: IO[str] = stack.enter_context(path.open("x", encoding="utf-8", newline=""))
        if suffix == ".json":
            _write_json(file, rows)
        elif suffix == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        else:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writerow(columns)
            writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def _write_json(file: IO[str], rows: Iterable[Mapping[str, object]]) -> None:
    separator = "[\n"
    for row in rows:
        file.write(separator + json.dumps(row, ensure_ascii=False, default=str))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def _cell(value: object) -> object:
    if isinstance(value, Records):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return SEPARATOR.join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value
