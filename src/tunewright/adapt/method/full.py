"""Full fine-tuning: every parameter moves."""

from __future__ import annotations

import re

import torch
from pydantic import field_validator

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.types import Adapter, Objective, Phase, Plan, Space, Trainable


class Full:
    """Train every parameter of the model, or those whose names match ``trainable``."""

    class Config(ComponentConfig):
        """Options of full fine-tuning."""

        trainable: str = Option(".*", "Regular expression over parameter names; only those that match are trained.")

        @field_validator("trainable")
        @classmethod
        def _is_a_pattern(cls, given: str) -> str:
            try:
                re.compile(given)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
            return given

    lr_factor = 1.0
    recomputes = False

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module itself with its matching parameters made trainable, in one phase."""
        pattern = re.compile(self.config.trainable)
        names = [name for name, _ in module.named_parameters()]
        if not any(pattern.search(name) for name in names):
            raise InputError(
                "no parameter matches",
                where="method.trainable",
                given=self.config.trainable,
                allowed=f"a pattern that matches at least one of {len(names)} names, such as {names[-1]}",
                hint="method.trainable='.*' trains everything",
            )
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(pattern.search(name) is not None)
        return Trainable(module, (Phase(objective, self.config.trainable),))

    def adapter(self, trainable: Trainable) -> Adapter | None:
        """None: the base itself was trained."""
        return None

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module as it is: nothing was added to it."""
        return trainable.module

    def search_space(self, plan: Plan) -> Space:
        """Nothing: which parameters move is a decision, not a setting to be tried."""
        return {}
