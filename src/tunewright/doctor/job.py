"""A recipe as a training in miniature: its base, task and method, and a handful of its real rows, drawn from the whole file.

What another process needs to make the same one is a Job: plain values, and two folders that hold the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tunewright import extensions
from tunewright.adapt import encode as encoding
from tunewright.adapt.choose import choose_task
from tunewright.data.inputs import Inputs, look
from tunewright.data.prepare import open_dataset, prepare
from tunewright.errors import CorruptError
from tunewright.model.select import select
from tunewright.recipe import Recipe, Request, read_request
from tunewright.store.artifact import open_artifact
from tunewright.train.batches import read_examples
from tunewright.train.miniature import Miniature, make_miniature
from tunewright.train.recompute import set_recompute
from tunewright.train.split import splits
from tunewright.types import Base, Encoded, Plan, Tell

FEW_ROWS = 240
"""Enough that the rows that train show short and long ones; read and encoded in a second."""

Job = Mapping[str, Any]

_FILES = {"path": None, "validation_path": None, "test_path": None, "format": "auto"}
_LENIENT = {"min_rows": 2, "max_rejected": 1.0}


def settle(request: Request, folder: Path, runs: Path, tell: Tell) -> Job:
    """Prepare and encode a few rows of the recipe under ``folder``. Raises InputError, GateError, MachineError."""
    recipe = request.recipe
    inputs = look(recipe.data, request.rows, tell)
    task, _ = choose_task(recipe.task, inputs.profiles, {name: str(at) for name, at in recipe.data.columns.items()})
    few = recipe.data.model_copy(update={**_FILES, **_LENIENT})
    dataset = prepare(few, task, folder / "data", rows=_handful(inputs), tell=tell)
    bound = task.bind(dataset)
    base = select(recipe.model, dataset.facts, needs=bound.needs, base_run=recipe.base, runs=runs, tell=tell)
    encoding.encode(
        recipe.encode,
        dataset=dataset,
        base=base,
        encoder=bound.open_encoder(base),
        target=folder / "encoded",
        key="doctor",
        tell=tell,
    )
    name = type(task).__module__.rpartition(".")[2]
    values = recipe.model_dump(mode="json", exclude={"data", "base", "tune", "report", "evaluate", "name"})
    values["task"] = {"name": name, **task.config.model_dump(mode="json")}
    return {
        "recipe": values,
        "base": {**asdict(base), "folder": str(base.folder)},
        "data": str(folder / "data"),
        "encoded": str(folder / "encoded"),
    }


def open_job(job: Job, plan: Plan | None = None) -> Miniature:
    """The training in miniature, as planned, or in fp32 on the CPU; every process makes the same."""
    recipe = read_recipe(job)
    task = extensions.load("adapt.task", recipe.task.name)(recipe.task.config).bind(open_dataset(Path(job["data"])))
    method = extensions.load(recipe.method.family, recipe.method.name)(recipe.method.config)
    trainable = method.wrap(task.attach(read_base(job), recipe.seed), task.objective(), recipe.seed)
    examples = read_examples(read_encoded(job), "train")
    if plan is None:
        return make_miniature(trainable, examples, recipe.train.optimizer)
    set_recompute(trainable.module, wanted=plan["train.recompute"])
    device, dtype = str(plan["train.device"]), str(plan["train.dtype"])
    is_split = splits(recipe.train, plan, remembers=trainable.look_ahead is not None)
    return make_miniature(trainable, examples, recipe.train.optimizer, device, dtype, splits=is_split)


def read_recipe(job: Job) -> Recipe:
    """The recipe without its data."""
    return read_request([], (), job["recipe"], environment={}).recipe


def read_base(job: Job) -> Base:
    """The base that the recipe starts from."""
    return Base(**{**job["base"], "folder": Path(job["base"]["folder"]), "notes": tuple(job["base"]["notes"])})


def read_encoded(job: Job) -> Encoded:
    """The rows as token ids."""
    artifact = open_artifact(Path(job["encoded"]))
    if artifact is None:
        raise CorruptError("the encoded rows are gone", where=job["encoded"], hint="run the command again")
    return encoding.open_encoded(artifact)


def _handful(inputs: Inputs) -> list[Mapping[str, object]]:
    """Rows at even distances through every file."""
    total = sum(entry.num_rows for entry in inputs.entries)
    every = max(1, total // FEW_ROWS)
    records = (record for entry in inputs.entries for record in entry.rows.records())
    return [record.fields for record in islice(records, 0, None, every) if record.fields]
