"""The options of a search.

tune:
  strategy: tpe
  trials: 20
  space:
    train.lr: {low: 1e-5, high: 1e-3, log: true}
    train.batch_size: [8, 16, 32]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tunewright.config.base import ComponentConfig, Extension, ExtensionOption, Option
from tunewright.types import Value


class Bounds:
    """The numbers that an option may take."""

    class Config(ComponentConfig):
        """A range of numbers."""

        low: int | float = Option(..., "The smallest value, included.")
        high: int | float = Option(..., "The largest value, included.")
        log: bool = Option(False, "Draw evenly in the logarithm.")
        step: int | float | None = Option(None, "Only low, low + step, low + 2 step ...", gt=0)

        @model_validator(mode="after")
        def _fits(self) -> Bounds.Config:
            if self.low >= self.high:
                raise ValueError("low must be below high")
            if self.log and (self.low <= 0 or self.step is not None):
                raise ValueError("a logarithmic range begins above 0 and has no step")
            if self.step is not None and self.step > self.high - self.low:
                raise ValueError("the step is longer than the range")
            return self


Choices = Annotated[list[Value], Field(min_length=1)]


class Pruner:
    """When a trial that does badly is stopped early."""

    class Config(ComponentConfig):
        """Options of pruning."""

        shorthand = "name"

        name: Literal["median", "halving", "none"] = Option(
            "median",
            "median: stop a trial that is worse than half of the complete ones were at this evaluation; halving: only the "
            "best of those that came to evaluation 1, 2, 4 ... go on; none: every trial is trained to its end.",
        )
        startup: int = Option(4, "median: complete trials before any is stopped.", ge=1)
        warmup: int = Option(0, "median: evaluations of each trial after which none is stopped.", ge=0)
        reduction: int = Option(2, "halving: one in so many goes on, to so many times the evaluations.", ge=2)


class Tune:
    """How `tunewright tune` searches for better options; other commands do not read this section."""

    class Config(ComponentConfig):
        """Options of a search."""

        strategy: Extension = ExtensionOption("tune.strategy", "tpe", "How the next trial is chosen.")
        trials: int = Option(20, "Trials in all. With more of them a finished search goes on.", ge=1, le=100_000)
        seconds: float | None = Option(
            None, "Begin no trial once the trials have taken so long. Empty: no limit.", gt=0
        )
        space: dict[str, Bounds.Config | Choices] = Option(
            {},
            "Option path -> {low, high, log, step} or a list of values; of model, task, method, encode, train and seed; for "
            "text, of method, train and seed alone. Empty: what the task and the method propose.",
            examples=[{"train.lr": [1e-5, 1e-4]}],
        )
        pruner: Pruner.Config = Option(Pruner.Config(), "When a bad trial is stopped early.")
        seed: int = Option(0, "Draws the trials.", ge=0, le=2**31 - 1)
        keep: int = Option(1, "How many of the best trials keep their weights.", ge=1)
        failures: int = Option(3, "So many failed trials in a row end the search.", ge=1)

        @field_validator("space", mode="before")
        @classmethod
        def _dotted(cls, given: Any) -> Any:
            """Accept nested sections, too: an override `tune.space.train.lr=...` is written that way."""
            if not isinstance(given, Mapping):
                return given
            found: dict[str, Any] = {}
            for path, value in _entries(given, ""):
                bounds = isinstance(value, Mapping) and isinstance(found.get(path), Mapping)
                found[path] = {**found[path], **value} if bounds else value
            return found


def _entries(tree: Mapping[str, Any], section: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{section}{name}"
        if isinstance(value, Mapping) and not set(value) & set(Bounds.Config.model_fields):
            yield from _entries(value, f"{path}.")
        else:
            yield path, value
