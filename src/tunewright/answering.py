"""Answer new texts with a run's tuned model: rows of a file with the user's own columns kept, or texts in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from tunewright.adapt.save import Tuned, load_model
from tunewright.data.clean.base import build_chain
from tunewright.data.profile import column_value, flatten
from tunewright.data.rows import read_rows
from tunewright.errors import InputError, nearest
from tunewright.evaluate.threshold import apply_thresholds
from tunewright.infer.load import tokenize
from tunewright.infer.predict import predict_logits
from tunewright.store.output import writing
from tunewright.store.run import is_run
from tunewright.store.runs import find_run
from tunewright.types import Classified, Labels, Record, Tell, tell_nobody

ROWS_AT_ONCE = 1024
SEPARATOR = "|"
WRITERS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

Prediction = dict[str, object]


def locate_run(run: str | Path, runs: str | Path = "runs") -> Path:
    """The folder of a run, given as its folder or as its id under ``runs``. Raises InputError."""
    if is_run(Path(run)):
        return Path(run)
    if Path(run).name != str(run):
        raise InputError(
            "there is no run in this folder",
            where="run",
            given=str(run),
            allowed="the folder of a run, or its id",
            hint="tunewright runs list",
        )
    return find_run(Path(runs), str(run))


def predict(
    run: str | Path, texts: Sequence[str], *, runs: str | Path = "runs", tell: Tell = tell_nobody
) -> list[Prediction]:
    """``label`` and ``confidence`` for each text; a text without content gets None for both.

    Several labels come as a list; the confidence is then that of the least certain decision.
    """
    return [_short(each) for each in answer(load_model(locate_run(run, runs) / "model"), list(texts), tell)]


def predict_file(
    run: str | Path, file: str | Path, out: str | Path, *, runs: str | Path = "runs", tell: Tell = tell_nobody
) -> dict[str, object]:
    """Write ``file`` to ``out`` (csv, tsv, jsonl, json or parquet) with every column kept and the answers added.

    Returns ``rows``, ``unanswered`` and ``out``. Raises InputError for a file without the text column.
    """
    folder, target = locate_run(run, runs), Path(out)
    if target.suffix.lower() not in WRITERS:
        raise InputError(
            "this kind of file cannot be written",
            where="-o",
            given=target.name,
            allowed=", ".join(WRITERS),
            hint=f"-o {target.with_suffix('.csv').name}",
        )
    columns, records, _ = read_rows(str(file), tell=tell)
    tuned = load_model(folder / "model")
    column = text_column(folder, columns, str(file))
    added = _added_names(columns)
    counts = {"rows": 0, "unanswered": 0}

    def answered() -> Iterator[dict[str, object]]:
        for piece in _pieces(records):
            texts = [_text(record, column) for record in piece]
            for record, prediction in zip(piece, answer(tuned, texts, tell), strict=True):
                counts["rows"] += 1
                counts["unanswered"] += prediction["label"] is None
                own = {name: column_value(record.fields, name) for name in columns}
                yield {**own, added[0]: prediction["label"], added[1]: prediction["confidence"]}
            tell("answering", counts["rows"], None, "rows")

    with writing(target) as temporary:
        _write(target.suffix.lower(), temporary, [*columns, *added], answered())
    return {**counts, "out": str(target)}


def text_column(folder: Path, columns: Sequence[str], file: str) -> str:
    """The column that held the text when the model was tuned, or the only column there is."""
    result = folder / "result.json"
    known = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    wanted = str(known.get("data", {}).get("columns", {}).get("text", "text"))
    for candidate in (wanted, "text"):
        if candidate in columns:
            return candidate
    if len(columns) == 1:
        return columns[0]
    close = nearest(wanted, columns)
    raise InputError(
        "the text column is not in this file",
        where=f"{file}:1",
        given=", ".join(columns),
        allowed=f"a column `{wanted}`, as in the data that the model was tuned on",
        hint=f"rename the column `{close}` to `{wanted}`" if close else f"name the column of texts `{wanted}`",
    )


def answer(tuned: Tuned, texts: Sequence[str | None], tell: Tell = tell_nobody) -> list[Prediction]:
    """``label``, ``confidence`` and the ``probabilities`` of all labels, for each text; None for one without content."""
    texts = clean_texts(texts, tuned.card.get("clean", []))
    usable = [index for index, text in enumerate(texts) if text is not None and text.strip()]
    predictions: list[Prediction] = [{"label": None, "confidence": None, "probabilities": None} for _ in texts]
    if usable:
        classified = classify(tuned, [str(texts[index]) for index in usable], tell)
        for index, prediction in zip(usable, _predictions(classified), strict=True):
            predictions[index] = prediction
    return predictions


def classify(tuned: Tuned, texts: Sequence[str], tell: Tell = tell_nobody) -> Classified:
    """What a tuned model says about clean texts with content, as it is served: in fp32, with its own thresholds."""
    ids = tokenize(tuned.tokenizer, texts, tuned.max_length)
    logits = predict_logits(tuned.module, ids, tell=tell, label="answering")
    return apply_thresholds(tuned.task.decode(logits), tuned.thresholds)


def _short(prediction: Prediction) -> Prediction:
    return {name: prediction[name] for name in ("label", "confidence")}


def clean_texts(texts: Iterable[str | None], cleaners: Sequence[Any]) -> list[str | None]:
    """The texts as prepare would have cleaned them before training; None for one that it would have rejected."""
    chain = build_chain(cleaners)
    cleaned: list[str | None] = []
    for text in texts:
        try:
            cleaned.append(None if text is None else chain.apply(text))
        except ValueError:
            cleaned.append(None)
    return cleaned


def _predictions(answer: Classified) -> Iterator[Prediction]:
    assert answer.probabilities is not None
    if isinstance(answer, Labels):
        for chosen, probabilities in zip(answer.chosen, answer.probabilities, strict=True):
            labels = [name for name, is_chosen in zip(answer.names, chosen, strict=True) if is_chosen]
            certain = np.where(chosen, probabilities, 1.0 - probabilities).min()
            yield {"label": labels, "confidence": _rounded(certain), "probabilities": _named(answer, probabilities)}
    else:
        for index, probabilities in zip(answer.chosen, answer.probabilities, strict=True):
            confidence, named = _rounded(probabilities[index]), _named(answer, probabilities)
            yield {"label": answer.names[index], "confidence": confidence, "probabilities": named}


def _named(answer: Classified, probabilities: Iterable[float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in zip(answer.names, probabilities, strict=True)}


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _added_names(columns: Sequence[str]) -> tuple[str, str]:
    """``label`` and ``confidence``, or ``predicted_...`` where the user has a column of that name."""
    taken = set(columns)
    label, confidence = (name if name not in taken else f"predicted_{name}" for name in ("label", "confidence"))
    return label, confidence


def _pieces(records: Iterator[Record]) -> Iterator[list[Record]]:
    while piece := list(islice(records, ROWS_AT_ONCE)):
        yield piece


def _text(record: Record, column: str) -> str | None:
    value = column_value(flatten(record.fields), column)
    return None if value is None else str(value)


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
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return SEPARATOR.join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value
