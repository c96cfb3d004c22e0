"""A search on the road: each trial is a run up to its trained model, judged on the validation rows alone.

runs/movies-tune-1a2b3c4d/
    run.json  study.db  result.json  report.html  best.yaml
    trials/prepared/       the data, prepared and encoded once; the trials link what they share with it
    trials/000/ ...        one run each, killed or not: the same command goes on from its last commit
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tunewright import extensions, pipeline, result
from tunewright.config.base import AUTO
from tunewright.config.load import with_automatic
from tunewright.config.write import to_yaml
from tunewright.data.prepare import dataset_key
from tunewright.errors import GateError, InputError, Interrupted, Problem, RecipeError
from tunewright.judging import followed
from tunewright.pipeline import Road, Watcher
from tunewright.recipe import Request, as_command, leaves, read_request, run_name
from tunewright.report.render import render
from tunewright.seams import Method
from tunewright.store.digest import digest_json
from tunewright.store.run import CHECKPOINTS, RESULT, RunFolder
from tunewright.store.runs import begun, locate_run
from tunewright.train.memory import peak_bytes
from tunewright.tune.bridge import load_optuna
from tunewright.tune.search import Evaluated, TrialFailed, search
from tunewright.tune.space import describe_space, read_space
from tunewright.tune.study import Study, open_study
from tunewright.types import Base, Choice, Dataset, Encoded, Plan, Space, Trial, Trials, Value

STUDY = "study.db"
BEST = "best.yaml"
TRIALS = "trials"
PREPARED = "prepared"
SEARCHED = ("model", "task", "method", "encode", "train", "seed")
"""Sections whose options may vary. What is judged on (data, evaluate) is the same for all trials."""

SEARCHED_OF_TEXT = ("method", "train", "seed")
"""The same for text: what decides its tokens is part of what is judged on, where trials are compared by nats per token."""

LIKELIHOOD = "nll_per_token"
"""The metric that is not the same question for other tokens."""

MACHINE = ("train.device", "train.threads", "train.dtype", "train.kernels")
"""Decided once for all trials: measured anew each time, a busy moment would change a trial's numbers."""

MODEL = "model"
ADAPTER = "adapter"

NO_SEARCH = ("trials", "seconds", "keep", "failures")
"""Options of ``tune`` with which a search goes on as it is."""


def tune(
    what: object,
    *,
    out: str | Path | None = None,
    runs: str | Path = "runs",
    overrides: Sequence[str] = (),
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """Search for better options, as the recipe's section ``tune`` says; takes what ``run`` takes.

    Trains every trial, judges none on the test rows, and writes the recipe with the winning values to ``best.yaml``.
    Returns what ``result.json`` holds. Raises InputError (2), GateError (3), MachineError (1), Interrupted (130).
    """
    load_optuna()
    request = read_request(what, overrides, options)
    asked = Asked(what, tuple(overrides), options, request)
    road = Road(request, watcher or Watcher())
    road.check_names()
    road.recognise()
    identity = _identity(road, request)
    named = f"{run_name(request)[:31]}-tune-{identity[:8]}"
    folder = Path(out) if out is not None else Path(runs) / named
    words = list(command) or ["tunewright", "tune", *as_command(request, out)[2:]]
    with begun(folder, identity, words, STUDY) as opened:
        ready = _prepare(asked, road, opened, Path(runs), words)
        return _search(ready)


@dataclass(frozen=True)
class Asked:
    """The recipe as it was handed over, so that each trial can be asked for in the same words with some values changed."""

    what: object
    overrides: tuple[str, ...]
    options: Mapping[str, Any]
    request: Request

    def having(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The overrides with these values on top."""
        return (*self.overrides, *(f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in values.items()))

    def refuse(self, path: str, value: Value) -> Problem | None:
        """What is wrong with a value of an option, if anything."""
        try:
            read_request(self.what, self.having({path: value}), self.options)
        except RecipeError as error:
            return error.problems[0]
        return None


@dataclass(frozen=True)
class Ready:
    """All that the trials share; ``asked`` holds what was decided once for all of them."""

    asked: Asked
    road: Road
    folder: RunFolder
    command: list[str]
    space: Space
    metric: str
    higher_is_better: bool
    dataset: Dataset
    base: Base
    encoded: Encoded


def _identity(road: Road, request: Request) -> str:
    """What must be the same for a search to go on: all but how long it goes on."""
    asked = request.recipe.model_dump(mode="json", exclude={"name", "report", "tune"})
    asked["data"] = dataset_key(request.recipe.data, road.task, road.inputs)
    tuned = request.recipe.tune.model_dump(mode="json", exclude=set(NO_SEARCH))
    return digest_json(["tune", asked, tuned])


def _prepare(asked: Asked, road: Road, folder: RunFolder, runs: Path, command: list[str]) -> Ready:
    """Prepare and encode the data once, and decide what is the same for all trials."""
    shared: dict[str, Value] = {}
    recipe = road.recipe
    if recipe.task.name == AUTO:
        shared["task.name"] = str(next(choice.value for choice in road.choices if choice.path == "task.name"))
    if recipe.base is not None and not Path(recipe.base.removeprefix("run:")).is_dir():
        shared["base"] = f"run:{locate_run(recipe.base.removeprefix('run:'), runs).absolute()}"
    asked = replace(asked, overrides=asked.having(shared))
    road.request = read_request(asked.what, asked.overrides, asked.options)
    with road.open(folder.folder / TRIALS / PREPARED, runs, command):
        dataset = road.prepare()
        base = road.select(dataset)
        encoded = road.encode(dataset, base)
        plan = road.plan(base, encoded)
        _, declared, higher_is_better = followed.validation_score(road.task, dataset, recipe.evaluate.metric)
        road.finish(dataset, base, encoded)
    road.choices.append(declared)
    space = _space(asked, road, plan, SEARCHED_OF_TEXT if declared.value == LIKELIHOOD else SEARCHED)
    machine = {path: plan[path] for path in MACHINE if path not in space}
    return Ready(
        asked=replace(asked, overrides=asked.having(machine)),
        road=road,
        folder=folder,
        command=command,
        space=space,
        metric=str(declared.value),
        higher_is_better=higher_is_better,
        dataset=dataset,
        base=base,
        encoded=encoded,
    )


def _space(asked: Asked, road: Road, plan: Plan, sections: Collection[str]) -> Space:
    """The declared space, or what the task and the method propose."""
    recipe = road.recipe
    if recipe.tune.space:
        options = {path for path, _ in leaves(recipe.model_dump(mode="json")) if path.partition(".")[0] in sections}
        return read_space(recipe.tune.space, options, asked.refuse)
    method: Method = extensions.load(recipe.method.family, recipe.method.name)(recipe.method.config)
    of_task, of_method = road.task.search_space(plan), method.search_space(plan)
    space: Space = {**of_task, **of_method}
    who = f"the task {recipe.task.name} and the method {recipe.method.name} propose"
    road.choices.append(Choice("tune.space", list(space), f"what {who}, around the plan's values"))
    road.watcher.say(road.choices[-1])
    return space


def _search(ready: Ready) -> dict[str, Any]:
    folder, config, watcher = ready.folder, ready.road.recipe.tune, ready.road.watcher
    began = time.monotonic()
    with open_study(folder.document(STUDY), ready.space, higher_is_better=ready.higher_is_better) as study:
        trials = search(
            config, ready.space, partial(_measure, ready), study, ended=partial(_ended, ready), tell=watcher.tell
        )
        ready.road.timings["search"] = time.monotonic() - began
        return _finish(ready, study, trials)


def _measure(ready: Ready, trial: Trial, evaluated: Evaluated) -> float | None:
    """One run up to its trained model; goes on from its last commit."""
    watcher, total = ready.road.watcher, ready.road.recipe.tune.trials
    is_pruned = False

    def measured(number: int, value: float) -> None:
        nonlocal is_pruned
        is_pruned = evaluated(number, value) or is_pruned

    def tell(label: str, done: float, steps: float | None, note: str) -> None:
        watcher.tell(label, done, steps, f"trial {trial.number + 1} of {total}, {note}".rstrip(", "))

    looking_on = Watcher(
        tell=tell, asked_to_stop=lambda: is_pruned or watcher.asked_to_stop(), measured=measured, forecasts=False
    )  # what is chosen for a trial is the same as for the search, or its parameters
    overrides = ready.asked.having(trial.parameters)
    folder = _folder(ready, trial)
    try:
        done = pipeline.run(
            ready.asked.what,
            out=folder,
            overrides=overrides,
            until="train",
            watcher=looking_on,
            command=ready.command,
            **ready.asked.options,
        )
    except Interrupted:
        if is_pruned:
            return None
        raise
    except (InputError, GateError) as error:
        raise TrialFailed(f"{error.problem} ({error.where}: {error.given})") from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise  # torch says so in words alone where a CPU's memory is short
        raise TrialFailed(f"out of memory: {str(error).partition(chr(10))[0]}") from error
    value: float | None = done["curves"]["best_value"]
    return value


def _ended(ready: Ready, trials: Trials) -> None:
    """Say what came of the last trial; let go of all checkpoints, and of the weights of all but the best."""
    kept = {trial.number for trial in trials.ranked[: ready.road.recipe.tune.keep]}
    for trial in trials.ended:
        folder = _folder(ready, trial)
        idle = (CHECKPOINTS,) if trial.number in kept else (CHECKPOINTS, MODEL, ADAPTER)
        if any((folder / name).exists() for name in idle):
            RunFolder.open(folder).drop(*idle)
    watcher = ready.road.watcher
    for last in trials.ended[-1:]:
        values = ", ".join(f"{path}={_shown(value)}" for path, value in last.parameters.items())
        told = f"{last.state} in {last.seconds:.0f} s: {values} {last.reason}".strip()
        watcher.say(Choice(f"trial {last.number + 1}", "-" if last.value is None else f"{last.value:.4f}", told))
    if trials.ended and watcher.asked_to_stop():
        raise Interrupted(
            "stopped on request; every ended trial is kept",
            where=str(ready.folder.folder),
            hint=shlex.join(ready.command),
        )


def _shown(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _folder(ready: Ready, trial: Trial) -> Path:
    return ready.folder.folder / TRIALS / f"{trial.number:03d}"


def _finish(ready: Ready, study: Study, trials: Trials) -> dict[str, Any]:
    """Write the winning recipe, ``result.json`` and the report; return what the JSON says."""
    folder, road, recipe = ready.folder, ready.road, ready.road.recipe
    searched: dict[str, Any] = {
        "metric": ready.metric,
        "higher_is_better": ready.higher_is_better,
        "strategy": recipe.tune.strategy.as_json(),
        "pruner": recipe.tune.pruner.name,
        "space": describe_space(ready.space),
        "trials": [asdict(t) | {"validations": {str(n): v for n, v in t.validations.items()}} for t in trials.ended],
        "importance": study.importance(),
        "best": None,
    }
    if trials.ranked:
        best = trials.ranked[0]
        text = to_yaml(_winning(ready, best, len(trials.ended)))
        path = folder.write_document(BEST, text)
        searched["best"] = {
            "number": best.number,
            "value": best.value,
            "parameters": dict(best.parameters),
            "recipe": text,
            "file": str(path),
            "command": _command_of(ready, path),
        }
    content: dict[str, Any] = {
        "format": result.FORMAT,
        "id": folder.folder.name,
        "run": str(folder.folder),
        "report": str(folder.document("report.html")),
        "created": folder.created,
        "command": shlex.join(ready.command),
        "task": recipe.task.name,
        "method": recipe.method.name,
        "search": searched,
        **result.model_part(ready.base),
        **result.data_part(ready.dataset, ready.encoded),
        **result.config_part(road.request.loaded, road.choices),
        **result.environment_part(),
        "timings": {**road.timings, "total": sum(road.timings.values())},
        "peak_memory_bytes": peak_bytes(),
    }
    content = result.plain(content)
    folder.write_document("report.html", render(content))
    folder.write_document(RESULT, content)
    return content


def _winning(ready: Ready, best: Trial, num_trials: int) -> Any:
    """The recipe as it was given, with the values of the best trial."""
    why = f"trial {best.number} of {num_trials}: {ready.metric} {best.value:.4g} on the validation rows"
    chosen = [Choice(path, value, why) for path, value in best.parameters.items()]
    return with_automatic(ready.road.request.loaded, chosen)


def _command_of(ready: Ready, path: Path) -> str:
    """What trains and judges the winner; rows that were handed over in memory have to be named as a file."""
    rows = [] if ready.asked.request.rows is None else ["data.path=FILE"]
    return shlex.join(["tunewright", "run", str(path), *rows])
