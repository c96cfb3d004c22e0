"""Answer new requests with a run's tuned model: rows of a file with the user's own columns kept, or texts in memory.

A model answers with labels or with text; ``base`` has what is asked of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from tunewright.answering.base import Prediction, open_answerer
from tunewright.answering.files import WRITERS, write_rows
from tunewright.answering.labels import answer
from tunewright.data.profile import column_value
from tunewright.data.rows import read_profiled
from tunewright.errors import InputError
from tunewright.store.runs import locate_run
from tunewright.types import Record, Tell, tell_nobody

__all__ = ["answer", "locate_run", "predict", "predict_file"]

ROWS_AT_ONCE = 1024


def predict(
    run: str | Path, texts: Sequence[str], *, runs: str | Path = "runs", tell: Tell = tell_nobody
) -> list[Prediction]:
    """``label`` and ``confidence`` for each text, or what a model that writes text says: ``answer`` and ``finish``.

    A text without content gets None for both. Several labels come as a list; the confidence is then that of the least certain
    decision. ``finish`` is ``stop`` where the answer ended by itself, ``length`` where it was cut; a text that is too long
    for the model gets None for both, too.
    """
    with closing(open_answerer(locate_run(run, runs))) as answerer:
        predictions = answerer.answer([answerer.request(text) for text in texts], tell)
        return [{name: prediction[name] for name in answerer.added} for prediction in predictions]


def predict_file(
    run: str | Path, file: str | Path, out: str | Path, *, runs: str | Path = "runs", tell: Tell = tell_nobody
) -> dict[str, object]:
    """Write ``file`` to ``out`` (csv, tsv, jsonl, json or parquet) with every column kept and the answers added.

    A model that writes text reads dialogues in the forms that it is tuned on, or one user's turn from a column of texts; an
    answer that a row has already is not read. Returns ``rows``, ``unanswered`` and ``out``. Raises InputError for a file
    without the columns to read.
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
    columns, profiles, records, _ = read_profiled(str(file), tell=tell)
    counts = {"rows": 0, "unanswered": 0}
    with closing(open_answerer(folder)) as answerer:
        read = answerer.reader(columns, profiles, str(file))
        added = {name: f"predicted_{name}" if name in columns else name for name in answerer.added}

        def answered() -> Iterator[dict[str, object]]:
            for piece in _pieces(records()):
                predictions = answerer.answer([read(record.fields) for record in piece], tell)
                for record, prediction in zip(piece, predictions, strict=True):
                    counts["rows"] += 1
                    counts["unanswered"] += prediction[answerer.added[0]] is None
                    own = {name: column_value(record.fields, name) for name in columns}
                    yield {**own, **{column: prediction[name] for name, column in added.items()}}
                tell("answering", counts["rows"], None, "rows")

        write_rows(target, [*columns, *added.values()], answered())
    return {**counts, "out": str(target)}


def _pieces(records: Iterator[Record]) -> Iterator[list[Record]]:
    while piece := list(islice(records, ROWS_AT_ONCE)):
        yield piece
