"""Life after launch: watch what comes in, tune anew with more rows, and let the better model be live.

requests ─▶ watch ─▶ Drift
live version + new rows ─▶ pipeline.run ─▶ challenger ─▶ both on rows that neither has seen ─▶ Decision ─▶ registry
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.adapt.save import Tuned, load_model
from tunewright.answering import classify, clean_texts, locate_run, text_column
from tunewright.data.duplicates import hash_text, normalise
from tunewright.data.prepare import open_dataset
from tunewright.data.profile import column_value, flatten
from tunewright.data.rows import read_rows
from tunewright.errors import InputError
from tunewright.evaluate.compare import compare
from tunewright.evaluate.resample import holm
from tunewright.evaluate.verdict import judge_pair
from tunewright.maintain.watch import Watch, draw
from tunewright.maintain.watch import watch as watch_window
from tunewright.pipeline import Watcher, run
from tunewright.store.document import finite_or_none
from tunewright.store.registry import Registry
from tunewright.store.run import RESULT, read_document
from tunewright.store.version import Version, read_candidate, verify
from tunewright.types import Classified, Comparison, Dataset, Decision, Label, Labels, Tell, Window, tell_nobody

HELD_OUT = ("validation", "test")
SEEN = ("train", "validation")
JUDGED = "rows that neither was tuned on"


def watch(
    run: str | Path,
    requests: str | Path,
    *,
    registry: str | Path | None = None,
    level: float = 0.01,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """Compare a file of requests with the data that a run's model was tuned on; with ``registry``, ``run`` is a live name.

    Texts are compared with the training rows, answers with those to the validation and test rows; no gold label is read.
    Requests are cleaned, and each text counts once, as for training. Returns the Drift as plain data, with the counts of
    the requests. Raises InputError.
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
    tuned, dataset = load_model(folder / "model"), open_dataset(folder / "data")
    texts, counts = _requests(folder, str(requests), tuned.card.get("clean", []), tell)
    chosen = [texts[row] for row in draw(len(texts), config.rows, config.seed)]
    held_out = _draw_texts(tuned, dataset, HELD_OUT, config)
    drift = watch_window(
        config,
        Window(tuple(chosen), classify(tuned, chosen, tell) if chosen else None),
        Window(tuple(_draw_texts(tuned, dataset, ("train",), config)), classify(tuned, held_out, tell)),
        correct=holm,
        tell=tell,
    )
    return {"run": str(folder), "requests": {"file": str(requests), **counts}, **asdict(drift)}


def retrain(
    name: str,
    file: str | Path,
    *,
    registry: str | Path = "registry",
    out: str | Path | None = None,
    runs: str | Path = "runs",
    accept_verdict: bool = False,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the live version's recipe again with the rows of ``file`` added, and promote what comes of it if it is better.

    Better means: the challenger's own verdict is ``better`` (or any, with ``accept_verdict``), and it wins by the same
    paired test at 0.05 against the live version, on the test rows that neither has been trained or validated on. Either
    way the decision is written into the registry. Returns ``decision``, ``run``, ``report`` and ``verdict``.
    Raises InputError, GateError (also where another version has become live meanwhile), CorruptError, MachineError.
    """
    watcher = watcher or Watcher()
    with Registry(Path(registry)) as shelf:
        live = shelf.current(name)
        verify(live)
        options = _recipe_with(live, str(file))
        command = list(command) or ["tunewright", "retrain", name, str(file)]
        recipe = live.folder / "recipe.yaml"
        result = run(recipe, out=out, runs=runs, overrides=options, watcher=watcher, command=command)
        challenger = Path(result["run"])
        comparison, num_rows = _against_live(live, challenger, result, watcher.tell)
        wins, reason = _judge(comparison, result["verdict"]["outcome"], accept_verdict)
        if read_candidate(challenger).digest == live.digest:
            wins, reason = False, "the live version is this very run"
        decision = Decision(
            outcome="promote" if wins else "keep",
            name=name,
            live=live.number,
            challenger=str(challenger),
            version=None,
            num_rows=num_rows,
            comparison=comparison,
            reason=reason,
        )
        decision = _carry_out(shelf, decision, accept_verdict)
    kept = {key: result[key] for key in ("run", "report", "verdict")}
    return {"decision": finite_or_none(asdict(decision)), **kept}


def _carry_out(shelf: Registry, decision: Decision, accept_verdict: bool) -> Decision:
    """Promote or keep; what is written beside it are the decision's own numbers."""
    if decision.outcome == "keep":
        shelf.keep(decision.name, decision.reason, asdict(decision))
        return decision
    note = f"retrained from version {decision.live}"
    added = shelf.add(decision.name, Path(decision.challenger), note=note, accept_verdict=accept_verdict)
    made = replace(decision, version=added.number)
    shelf.promote(made.name, added.number, reason=made.reason, detail=asdict(made), instead_of=made.live)
    return made


def _recipe_with(live: Version, file: str) -> list[str]:
    """The overrides that add a file to the data of a version's recipe."""
    result = read_document(live.folder / RESULT) or {}
    config = result["config"]
    given = config["values"]["data"]["path"]
    if given is None:
        raise InputError(
            "the rows were handed over in memory, so they cannot be read again",
            where=str(live.folder),
            allowed="a version that was tuned on files",
            hint="save the rows to a file, run that, and add the run",
        )
    paths = dict.fromkeys([*([given] if isinstance(given, str) else given), file])
    overrides = [f"data.path={json.dumps(list(paths), ensure_ascii=False)}"]
    if str(config["origins"].get("data.format", "")).startswith("automatic"):
        overrides.append("data.format=auto")  # the new file may be of another format
    return overrides


def _against_live(live: Version, challenger: Path, result: dict[str, Any], tell: Tell) -> tuple[Comparison | None, int]:
    """The challenger against the live version on the test rows that the live one has not been tuned on, and their number.

    The challenger has seen none of its test rows: prepare leaves no text in two splits.
    """
    models = [load_model(folder / "model") for folder in (challenger, live.folder)]
    task: Any = models[0].task
    seen = _texts_seen(open_dataset(live.folder / "data"), task)
    test = open_dataset(challenger / "data").table("test")
    fair = [row for row, fields in enumerate(test.to_pylist()) if _text_of(fields, task) not in seen]
    if not fair:
        return None, 0
    rows = test.take(fair)
    gold: Classified = task.gold(rows)
    texts = task.texts(rows)
    answers = [classify(model, texts, tell) for model in models]
    names = tuple(dict.fromkeys((*gold.names, *answers[1].names)))
    kind = type(gold)
    ours, theirs, right = (_as_kind(answer, kind, names) for answer in (*answers, gold))
    evaluate = result["config"]["values"]["evaluate"]
    opponent = f"the live version {live.number}"
    [comparison] = compare(
        ours,
        {opponent: theirs},
        right,
        result["verdict"]["metric"],
        {opponent},
        evaluate["seed"],
        num_resamples=evaluate["resamples"],
    )
    return comparison, len(fair)


def _judge(comparison: Comparison | None, verdict: str, accept_verdict: bool) -> tuple[bool, str]:
    """Whether the challenger wins, and why."""
    if comparison is None:
        return (
            False,
            "No evidence: the live version was tuned on all of the test rows, so there is nothing to compare on.",
        )
    outcome, sentence = judge_pair(comparison, JUDGED)
    if outcome == "better" and verdict != "better" and not accept_verdict:
        return False, f"The challenger's own verdict is `{verdict}`, so it is not promoted, although: {sentence}"
    return outcome == "better", sentence


def _as_kind(answer: Classified, kind: type, names: tuple[str, ...]) -> Classified:
    """The same answers over a larger set of names; one label per row as a set of one, where the kind asks for sets."""
    columns = [names.index(name) for name in answer.names]
    probabilities = None
    if answer.probabilities is not None:
        probabilities = np.zeros((len(answer), len(names)))
        probabilities[:, columns] = answer.probabilities
    if kind is Label:
        assert isinstance(answer, Label)
        return Label(names, np.array(columns)[answer.chosen], probabilities, answer.out_of_scope)
    chosen = np.zeros((len(answer), len(names)), np.bool_)
    own = answer.chosen if isinstance(answer, Labels) else np.eye(len(answer.names), dtype=np.bool_)[answer.chosen]
    chosen[:, columns] = own
    return Labels(names, chosen, probabilities)


def _texts_seen(dataset: Dataset, task: Any) -> set[int]:
    """The texts that a model was trained or validated on, as duplicates are judged."""
    tables = (dataset.table(split) for split in SEEN)
    return {_text_of(fields, task) for table in tables for batch in table.to_batches() for fields in batch.to_pylist()}


def _text_of(fields: dict[str, object], task: Any) -> int:
    return hash_text(normalise(task.identity(fields)))


def _draw_texts(tuned: Tuned, dataset: Dataset, splits: Sequence[str], config: Watch.Config) -> list[str]:
    task: Any = tuned.task
    texts = [text for split in splits for text in task.texts(dataset.table(split))]
    return [texts[row] for row in draw(len(texts), config.rows, config.seed)]


def _requests(folder: Path, file: str, cleaners: Sequence[Any], tell: Tell) -> tuple[list[str], dict[str, int]]:
    """The distinct texts of a file, cleaned, and how many rows there were, repeated an earlier one, or held no text."""
    columns, records, _ = read_rows(file, tell=tell)
    column = text_column(folder, columns, file)
    values = [column_value(flatten(record.fields), column) for record in records]
    cleaned = clean_texts([None if value is None else str(value) for value in values], cleaners)
    usable = [text for text in cleaned if text and text.strip()]
    distinct = {normalise(text): text for text in reversed(usable)}
    counts = {"rows": len(values), "repeated": len(usable) - len(distinct), "without_text": len(values) - len(usable)}
    return list(distinct.values())[::-1], counts
