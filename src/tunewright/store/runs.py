"""The runs side by side in one folder: list, show, compare, remove. Records only; the command line renders them."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tunewright.errors import CorruptError, GateError, InputError, nearest
from tunewright.store import durable
from tunewright.store.checkpoints import LOG, CheckpointStore
from tunewright.store.document import finite_or_none
from tunewright.store.lock import holder, locked
from tunewright.store.run import CHECKPOINTS, LOCK, RESULT, RunFolder, is_run, read_document

State = Literal["finished", "running", "trained", "interrupted", "prepared", "failed"]

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as its folder tells it.

    ``state``: ``finished`` has a verdict; ``running`` is owned by a living process; ``trained`` has a tuned model that was not
    judged; ``interrupted`` has commits of an unfinished training, so the same command goes on; ``prepared`` has its data;
    ``failed`` has none of these. ``deciding`` is the metric that its verdict rests on, empty without one. ``num_bytes``
    counts each file once, however many names it has in the folder; ``problem`` says what is damaged, if something is.
    ``created`` is UTC; ``step`` is that of the newest commit, None without one.
    """

    id: str
    folder: Path
    state: State
    created: str
    identity: str
    command: tuple[str, ...]
    versions: Mapping[str, str]
    task: str
    model: str
    metrics: Mapping[str, float | None]
    verdict: str
    deciding: str
    step: int | None
    num_bytes: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """A run with what its folder holds: the length of each entry in bytes, its commits, its whole ``result.json``."""

    run: Run
    contents: Mapping[str, int]
    commits: tuple[tuple[int, int, float | None], ...]
    result: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Runs side by side: each metric, and each setting in which they differ, with one value per run (None: not there)."""

    runs: tuple[Run, ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    settings: Mapping[str, tuple[object, ...]]


def list_runs(parent: Path) -> tuple[Run, ...]:
    """Every run folder in ``parent``, the newest first; links and unfinished folders are left out. Raises MachineError."""
    with durable.reported(parent):
        paths = sorted(parent.iterdir()) if parent.is_dir() else []
        runs = [_describe(path) for path in paths if _ID.fullmatch(path.name) and is_run(path)]
    return tuple(sorted(runs, key=lambda run: (run.created, run.id), reverse=True))


def show_run(parent: Path, run_id: str) -> RunDetail:
    """One run in full. Raises InputError with the nearest id when there is none, MachineError."""
    folder = find_run(parent, run_id)
    with durable.reported(folder):
        contents = {path.name: _size(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
        commits = tuple((c.number, c.step, c.metric) for c in _checkpoints(folder).commits())
        return RunDetail(run=_describe(folder), contents=contents, commits=commits, result=_result(folder)[0])


def compare_runs(parent: Path, ids: Sequence[str]) -> RunComparison:
    """Some runs side by side, in the order given; settings are those under ``config`` in ``result.json``.

    Raises InputError for an id that is not there, MachineError.
    """
    folders = [find_run(parent, run_id) for run_id in ids]
    runs = tuple(_describe(folder) for folder in folders)
    configs = [dict(_flatten(_settings(_result(folder)[0]))) for folder in folders]
    settings = {
        path: tuple(config.get(path) for config in configs)
        for path in sorted({path for config in configs for path in config})
    }
    metrics = {name: tuple(run.metrics.get(name) for run in runs) for name in dict.fromkeys(_names(runs))}
    differing = {path: values for path, values in settings.items() if any(value != values[0] for value in values)}
    return RunComparison(runs=runs, metrics=metrics, settings=differing)


def remove_run(parent: Path, run_id: str) -> int:
    """Remove one run; the number of bytes that it took. Other runs keep the stages that they share with it.

    Raises InputError for what is not a run's folder, MachineError when the run is owned by a process or the disk fails.
    """
    durable.remove_orphans(parent)  # of a removal that was killed
    folder = find_run(parent, run_id)
    num_bytes = _size(folder)
    clear(folder)
    return num_bytes


def clear(folder: Path) -> None:
    """Take a run's folder away, wherever it stands. Raises InputError for what is not one, MachineError."""
    if not is_run(folder):
        raise InputError("this is not the folder of a run", where=str(folder), hint="tunewright runs list")
    if os.name == "nt":  # a folder with an open file in it cannot be renamed there
        with locked(folder / LOCK):
            pass
        with durable.reported(folder):
            durable.remove_atomically(folder)
    else:
        with locked(folder / LOCK), durable.reported(folder):
            durable.remove_atomically(folder)


def withdraw(folder: Path, parents: Sequence[Path]) -> None:
    """Take back a run's folder that a mistake has left behind, and those of ``parents`` that are empty then."""
    clear(folder)
    with durable.reported(folder):
        for parent in parents:
            if parent.is_dir() and not any(parent.iterdir()):
                durable.remove_tree(parent)


@contextmanager
def begun(
    folder: Path, identity: str, command: Sequence[str], kept: str, asked: Mapping[str, object] = MappingProxyType({})
) -> Iterator[RunFolder]:
    """The run in ``folder``, made if it is not there, and locked for the length of a ``with`` block.

    One that is new is taken back where a mistake or a gate ends the block before the folder holds anything called
    ``kept``. Raises what ``RunFolder.open`` and its lock raise.
    """
    is_new = not folder.exists()
    parents = [parent for parent in folder.absolute().parents if not parent.exists()]
    opened = RunFolder.open(folder, create=True, identity=identity, command=command, asked=asked)
    try:
        with opened.lock():
            yield opened
    except (InputError, GateError):
        if is_new and not (folder / kept).exists():
            withdraw(folder, parents)
        raise


def locate_run(run: str | Path, runs: str | Path = "runs") -> Path:
    """The folder of a run, given as its folder or as its id under ``runs``. Raises InputError."""
    folder = Path(run).expanduser()
    if is_run(folder):
        return folder
    if folder.name == str(run):
        return find_run(Path(runs), str(run))
    close = nearest_folder(folder)
    raise InputError(
        "there is no run in this folder",
        where="run",
        given=str(run),
        allowed="the folder of a run, or its id",
        hint=f"did you mean {close}?" if close else "tunewright runs list",
    )


def nearest_folder(folder: Path) -> Path | None:
    """The folder beside ``folder`` whose name is most like its own, if one is like it."""
    parent = folder.parent
    beside = [path.name for path in sorted(parent.iterdir()) if path.is_dir()] if parent.is_dir() else []
    close = nearest(folder.name, beside)
    return parent / close if close and close != folder.name else None


def find_run(parent: Path, run_id: str) -> Path:
    """The folder of the run ``id``. Raises InputError for an id with a path in it, or one that is not a run."""
    if not _ID.fullmatch(run_id):
        raise InputError(
            "this cannot be the id of a run",
            where="run",
            given=run_id,
            allowed="lower-case letters, digits, . _ -; at most 64 characters, the first a letter or digit",
            hint="tunewright runs list",
        )
    if not is_run(parent / run_id):
        known = [path.name for path in sorted(parent.iterdir()) if is_run(path)] if parent.is_dir() else []
        suggestion = nearest(run_id, known)
        raise InputError(
            "there is no such run",
            where=str(parent),
            given=run_id,
            allowed=", ".join(known[:10]) or "nothing: there are no runs here",
            hint=f"did you mean {suggestion}?" if suggestion else "tunewright runs list",
        )
    return parent / run_id


# ------------------------------------------------------------------------------------------------------------- inside


def _describe(folder: Path) -> Run:
    result, problem = _result(folder)
    try:
        opened = RunFolder.open(folder)
    except CorruptError as error:
        opened, problem = RunFolder(folder, "", "", (), {}), str(error)
    step = max((commit.step for commit in _checkpoints(folder).commits()[-1:]), default=None)
    return Run(
        id=folder.name,
        folder=folder,
        state=_state(folder, result),
        created=opened.created,
        identity=opened.identity,
        command=opened.command,
        versions=opened.versions,
        task=_text(result.get("task")),
        model=_text(result.get("model")),
        metrics=dict(_metrics(result.get("metrics"))),
        verdict=_text(result.get("verdict"), "outcome"),
        deciding=_text(result.get("verdict"), "metric") if isinstance(result.get("verdict"), Mapping) else "",
        step=step,
        num_bytes=_size(folder),
        problem=problem,
    )


def _settings(result: Mapping[str, Any]) -> object:
    """The options of a run: ``config.values`` of its result, or ``config`` itself where there are no origins beside it."""
    config = result.get("config")
    return config.get("values", config) if isinstance(config, Mapping) else config


def _state(folder: Path, result: Mapping[str, Any]) -> State:
    if result.get("verdict"):
        return "finished"
    if holder(folder / LOCK) is not None:
        return "running"
    if result.get("curves"):
        return "trained"
    if (folder / CHECKPOINTS / LOG).is_file():
        return "interrupted"
    return "prepared" if result else "failed"


def _checkpoints(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder / CHECKPOINTS)


def _result(folder: Path) -> tuple[dict[str, Any], str]:
    try:
        return read_document(folder / RESULT) or {}, ""
    except CorruptError as error:
        return {}, str(error)


def _text(value: object, name: str = "name") -> str:
    """A text, or the one under ``name`` in an object; empty for anything else."""
    if isinstance(value, Mapping):
        value = value.get(name)
    return value if isinstance(value, str) else ""


def _metrics(value: object) -> Iterator[tuple[str, float | None]]:
    """Names and values, whether given as an object, as objects with a ``value``, or as a list of measures."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {entry.get("name"): entry for entry in value if isinstance(entry, Mapping)}
    for name, entry in value.items() if isinstance(value, Mapping) else ():
        number = entry.get("value") if isinstance(entry, Mapping) else entry
        if isinstance(number, int | float) and not isinstance(number, bool):
            yield str(name), float(number) if math.isfinite(number) else None


def _names(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        yield from run.metrics


def _flatten(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(inner, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, finite_or_none(value)


def _size(path: Path) -> int:
    """The bytes in ``path`` and below; a file with several names in there counts once; links are not followed."""
    seen: dict[tuple[int, int], int] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            state = current.lstat()
            if stat.S_ISDIR(state.st_mode):
                waiting.extend(current.iterdir())
            else:
                seen[state.st_dev, state.st_ino] = state.st_size
        except FileNotFoundError:  # a running process prunes
            continue
    return sum(seen.values())
