"""A small recipe with every kind of option, and a family of three extensions that exist only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from tunewright import extensions
from tunewright.config.base import ComponentConfig, Extension, ExtensionOption, Option
from tunewright.errors import InputError, nearest

Write = Callable[[str], Path]


class Head(ComponentConfig):
    """The head."""

    dropout: float = Option(0.1, "Dropout.", ge=0, lt=1)


class Classify:
    """Tell classes apart."""

    class Config(ComponentConfig):
        max_length: Annotated[int, Field(ge=8)] | Literal["auto"] = Option("auto", "Tokens per row.")
        head: Head = Option(Head(), "The head.")


class Rank:
    """Put texts in order."""

    class Config(ComponentConfig):
        depth: int = Option(..., "How many are put in order.", ge=1)


class Tag:
    """Mark words."""


class Model(ComponentConfig):
    """The model to start from."""

    shorthand = "name"
    name: str = Option("minilm-l6", "Its name.")
    layers: int | None = Option(None, "How many layers are kept. Empty: all.", gt=0)


class Data(ComponentConfig):
    """What to learn from."""

    shorthand = "path"
    path: Path = Option(..., "The file.")
    columns: Mapping[str, str] = Option({}, "Field to column.")
    clean: tuple[str, ...] = Option((), "Cleaners, in order.")
    test: float = Option(0.2, "Share that is held out.", gt=0, lt=0.5)


class Train(ComponentConfig):
    """How to train."""

    lr: float = Option(5e-5, "Learning rate.", gt=0)
    optimizer: Literal["adamw", "sgd"] = Option("adamw", "The optimiser.")
    shuffle: bool = Option(True, "New order in each epoch.")
    epochs: int = Option(3, "Passes over the rows.", ge=1)
    warmup: int = Option(0, "Steps of warm-up.", ge=0)

    @model_validator(mode="after")
    def _check_warmup(self) -> Train:
        if self.warmup > 100 * self.epochs:
            raise ValueError("the warm-up is longer than the training")
        return self


class Root(ComponentConfig):
    """A whole run."""

    name: str = Option("", "Name of the run.", max_length=40)
    data: Data = Option(..., "What to learn from.")
    model: Model = Option(Model(), "The model to start from.")
    task: Extension = ExtensionOption("toy.task", "auto", "What is learnt.")
    method: Extension = ExtensionOption("toy.task", "classify", "A family with a default.")
    train: Train = Option(Train(), "How to train.")
    extra: Train | None = Option(None, "A second round, if any.")


@pytest.fixture(autouse=True)
def toy_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family ``toy.task``: classify, rank and tag."""
    classes: dict[str, type] = {"classify": Classify, "rank": Rank, "tag": Tag}

    def load(family: str, name: str) -> type:
        assert family == "toy.task"
        if name not in classes:
            near = nearest(name, classes)
            hint = f"did you mean {near}?" if near else ""
            raise InputError("there is no task of this name", given=name, allowed=", ".join(classes), hint=hint)
        return classes[name]

    monkeypatch.setattr(extensions, "names", lambda family: tuple(sorted(classes)))
    monkeypatch.setattr(extensions, "load", load)


@pytest.fixture
def root() -> Any:
    """The class of the small recipe."""
    return Root


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the text of a recipe to a file."""

    def write(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
