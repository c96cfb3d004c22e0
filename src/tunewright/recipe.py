"""The recipe: one section per stage, each declared beside the code that reads it.

version: 1
name: movie-reviews
data: asset:movie-reviews
model: minilm-l6
task: classify
train: {epochs: 3}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.adapt.encode import Encode
from tunewright.config.base import AUTO, ComponentConfig, Extension, ExtensionOption, Option
from tunewright.config.explain import dotted
from tunewright.config.load import Loaded, flatten, load
from tunewright.config.read import in_flow
from tunewright.data.prepare import Prepare
from tunewright.errors import InputError
from tunewright.evaluate.config import Evaluate
from tunewright.model.select import Select
from tunewright.report.config import Report
from tunewright.store.digest import digest_code
from tunewright.train.config import Train
from tunewright.train.launch import Launch
from tunewright.tune.config import Tune
from tunewright.types import Choice

RECIPE_SUFFIXES = frozenset({".yaml", ".yml"})


class Recipe(ComponentConfig):
    """Everything that decides a run."""

    name: str = Option(
        "",
        "Name of the run; the first part of its id. Empty: from the data file.",
        max_length=40,
        pattern=r"^[a-z0-9._-]*$",
        examples=["movie-reviews"],
    )
    seed: int = Option(
        0,
        "Seed of the head, the order of rows and dropout. `data.seed` decides splits, `evaluate.seed` resampling.",
        ge=0,
        le=2**31 - 1,
    )
    base: str | None = Option(
        None,
        "Go on from an earlier run: `run:ID`. Takes the place of `model`.",
        pattern=r"^run:.+",
        examples=["run:ID"],
    )
    data: Prepare.Config = Option(..., "What to learn from, and how it is cleaned and split.")
    model: Select.Config = Option(Select.Config(), "The pretrained model to start from.")
    task: Extension = ExtensionOption("adapt.task", "auto", "What the model learns to answer; auto looks at the data.")
    method: Extension = ExtensionOption("adapt.method", "full", "How the model is tuned.")
    encode: Encode.Config = Option(Encode.Config(), "How rows become token ids.")
    train: Train.Config = Option(Train.Config(), "How the model is trained.")
    launch: Launch.Config = Option(Launch.Config(), "On how many processes and machines.")
    evaluate: Evaluate.Config = Option(Evaluate.Config(), "How the tuned model is judged.")
    report: Report.Config = Option(Report.Config(), "What the report shows.")
    tune: Tune.Config = Option(Tune.Config(), "How `tunewright tune` searches; a run does not read it.")


@dataclass(frozen=True, slots=True)
class Request:
    """A validated recipe with what cannot stand in it: rows handed over in memory."""

    loaded: Loaded[Recipe]
    rows: object | None
    given_as: str

    @property
    def recipe(self) -> Recipe:
        """The validated configuration."""
        return self.loaded.config


def read_request(
    what: object, overrides: Sequence[str], options: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Request:
    """A recipe file, a data file, or rows in memory (list of dicts, DataFrame, Arrow table), as a Request.

    Raises RecipeError with every problem at once, and InputError where ``what`` is none of these.
    """
    environment = os.environ if environment is None else environment
    if isinstance(what, str | Path):
        path = Path(what)
        if path.suffix.lower() in RECIPE_SUFFIXES:
            loaded = load(Recipe, path=path, values=options, overrides=overrides, environment=environment)
            return Request(loaded, None, str(what))
        values: dict[str, Any] = {"data": _with_path(options.get("data"), str(what))}
        loaded = load(Recipe, values={**options, **values}, overrides=overrides, environment=environment)
        return Request(loaded, None, str(what))
    if what is None:
        raise InputError(
            "nothing to run",
            where="run",
            given="None",
            allowed="a recipe, a data file or rows",
            hint="tunewright run reviews.csv",
        )
    loaded = load(Recipe, values={"data": {}, **options}, overrides=overrides, environment=environment)
    return Request(loaded, what, "<rows>")


def as_command(request: Request, out: str | Path | None = None) -> list[str]:
    """The command line that asks for the same, with what was given from Python written as overrides."""
    layers = request.loaded.layers
    given = [
        f"{dotted(key)}={in_flow(value)}"
        for key, value in layers.values.items()
        if layers.closest(key).kind in ("argument", "override") and (*key, value) != ("data", "path", request.given_as)
    ]
    return ["tunewright", "run", request.given_as, *given, *(["--out", str(out)] if out is not None else [])]


def _with_path(data: object, path: str) -> dict[str, object]:
    return {**(data if isinstance(data, Mapping) else {}), "path": path}


def run_name(request: Request) -> str:
    """The first part of the run's id: the recipe's name, or the data file's, in lower-case letters, digits and dashes."""
    recipe = request.recipe
    path = recipe.data.path if isinstance(recipe.data.path, str) else (recipe.data.path or ["rows"])[0]
    stem = recipe.name or Path(path.removeprefix("asset:")).stem
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return name[:40] or "run"


def fillable(loaded: Loaded[Recipe], choices: Sequence[Choice]) -> list[Choice]:
    """The choices that stand for an option of the recipe which was left open (empty or ``auto``)."""
    named = [choice for choice in choices if choice.path == "task.name"]
    open_paths = {path for path, value in leaves(loaded.config.model_dump(mode="json")) if value in (None, AUTO)}
    options = [choice for choice in choices if choice.path in open_paths]
    inner = [c for c in choices if c.path.startswith(("task.", "data.columns.")) and c.path not in loaded.origins]
    return list({choice.path: choice for choice in (*named, *options, *inner)}.values())


def described(recipe: Recipe, inputs: Sequence[Any]) -> dict[str, object]:
    """What a run's identity is made of, by dotted path, for the message where it has changed."""
    asked = recipe.model_dump(mode="json", exclude={"name", "report", "tune"})
    rows = {f"rows of {entry.name}": entry.sha256[:12] for entry in inputs}
    code = {"code that prepares data": digest_code("tunewright.data", "tunewright.types")[:12]}
    return {**dict(leaves(asked)), **rows, **code}


def leaves(tree: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The options of a configuration by their dotted path."""
    return [(dotted(key), value) for key, value in flatten(tree).items()]
