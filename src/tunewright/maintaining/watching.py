"""Compare what comes in with the data that a model was tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.answering import locate_run
from tunewright.answering.base import Answerer, Request, open_answerer
from tunewright.data.duplicates import normalise
from tunewright.data.prepare import open_dataset
from tunewright.data.rows import read_profiled
from tunewright.errors import InputError
from tunewright.evaluate.resample import holm
from tunewright.maintain.watch import Watch, draw
from tunewright.maintain.watch import watch as watch_window
from tunewright.store.registry import Registry
from tunewright.types import Dataset, Tell, Window, tell_nobody

HELD_OUT = ("validation", "test")


def watch(
    run: str | Path,
    requests: str | Path,
    *,
    registry: str | Path | None = None,
    level: float = 0.01,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """Compare a file of requests with the data that a run's model was tuned on; with ``registry``, ``run`` is a live name.

    Texts are compared with the training rows, chosen labels with those of the validation and test rows; no gold label is read.
    Of a dialogue the user's last turn is compared. Requests are cleaned, and each counts once, as for training. Returns the
    Drift as plain data, with the counts of the requests. Raises InputError.
    """
    if not 0 < level < 0.5:
        allowed = "above 0 and under 0.5, such as 0.01 for one window in 100"
        raise InputError("this is no level of false alarms", where="level", given=level, allowed=allowed)
    if registry is None:
        folder = locate_run(run)
    else:
        with Registry(Path(registry)) as shelf:
            folder = shelf.current(str(run)).folder
    config = Watch.Config(level=level)
    dataset = open_dataset(folder / "data")
    with closing(open_answerer(folder)) as answerer:
        asked, counts = _requests(answerer, str(requests), tell)
        now = _drawn(asked, config)
        before = _drawn(_distinct(_prepared(answerer, dataset, ("train",))), config)
        held_out = _drawn(_prepared(answerer, dataset, HELD_OUT), config)
        drift = watch_window(
            config,
            Window(tuple(each.text for each in now), answerer.classify(now, tell)),
            Window(tuple(each.text for each in before), answerer.classify(held_out, tell)),
            correct=holm,
            tell=tell,
        )
    return {"run": str(folder), "requests": {"file": str(requests), **counts}, **asdict(drift)}


def _prepared(answerer: Answerer, dataset: Dataset, splits: Sequence[str]) -> list[Request]:
    return [request for split in splits for request in answerer.prepared(dataset.table(split))]


def _distinct(requests: Sequence[Request]) -> list[Request]:
    """Each request once, as duplicates are judged: the first of those that say the same."""
    found = {normalise(request.whole): request for request in reversed(requests)}
    return list(found.values())[::-1]


def _drawn(requests: Sequence[Request], config: Watch.Config) -> list[Request]:
    return [requests[row] for row in draw(len(requests), config.rows, config.seed)]


def _requests(answerer: Answerer, file: str, tell: Tell) -> tuple[list[Request], dict[str, int]]:
    """The distinct requests of a file, and how many rows there were, repeated an earlier one, or held no usable text."""
    columns, profiles, records, _ = read_profiled(file, tell=tell)
    read = answerer.reader(columns, profiles, file)
    found = [read(record.fields) for record in records()]
    usable = [request for request in found if request is not None]
    distinct = _distinct(usable)
    counts = {"rows": len(found), "repeated": len(usable) - len(distinct), "without_text": len(found) - len(usable)}
    return distinct, counts
