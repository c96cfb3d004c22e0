"""(IA)3: learnt factors of keys, of values and of what the MLP's last projection reads (Liu et al. 2022, section 3.3)."""

from __future__ import annotations

import re
from typing import Any

import torch

from tunewright.adapt.method._adapter import (
    AUTO,
    find_targets,
    is_turned,
    merge,
    projections,
    put_in,
    take_adapter,
    train_beside,
)
from tunewright.config.base import ComponentConfig, Option
from tunewright.types import Adapter, Choice, Objective, Phase, Plan, Space, Trainable

KEYS_AND_VALUES = re.compile(r"(^|[._])(k|v|key|value)(_proj|_lin)?$|(^|\.)c_attn$")
"""Projections to keys and values, by the names of the known architectures; GPT-2's are one with the queries'."""
LAST_OF_MLP = re.compile(r"(^|\.)(down_proj|lin2|fc2|mlp\.c_proj)$|(?<!attention\.)output\.dense$")


class Ia3:
    """Train one factor for each key, value and inner MLP activation, about a ten-thousandth of the model, and a fresh head."""

    class Config(ComponentConfig):
        """Options of (IA)3."""

        targets: str | list[str] = Option(
            AUTO,
            "Which projections have their outputs scaled: auto (keys and values of every layer), all-linear, or a list of names.",
        )
        feedforward: str | list[str] = Option(
            AUTO, "Which projections have their inputs scaled: auto (the last of every MLP), or a list of names."
        )

    lr_factor = 60.0
    recomputes = False

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module with factors of 1 in its trunk. Raises InputError for a name that no layer has."""
        from peft import IA3Config

        wrapped: Any = module
        outputs, inputs = self._targets(wrapped.trunk)
        paths = [*dict.fromkeys([*outputs, *inputs])]
        config = IA3Config(
            target_modules=paths, feedforward_modules=inputs, fan_in_fan_out=is_turned(wrapped.trunk, paths)
        )
        names, of_inputs = put_in(wrapped, config, seed, paths, inputs)
        config.feedforward_modules = of_inputs
        pattern = train_beside(wrapped, r"\.ia3_l\.")
        reason = "keys, values and the last projection of the MLP, in each layer"
        is_auto = self.config.targets == self.config.feedforward == AUTO
        choices = (Choice("method.targets", names, reason),) if is_auto else ()
        return Trainable(module, (Phase(objective, pattern),), choices)

    def adapter(self, trainable: Trainable) -> Adapter:
        """The factors in peft's format."""
        return take_adapter(trainable)

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module with its matrices multiplied by the factors."""
        merge(trainable.module)
        return trainable.module

    def search_space(self, plan: Plan) -> Space:
        """Nothing: the learning rate, which is searched beside it, is what it depends on."""
        return {}

    def _targets(self, trunk: torch.nn.Module) -> tuple[list[str], list[str]]:
        """The paths of layers whose outputs are scaled, and of those whose inputs are."""
        known = [path for path, _ in projections(trunk)]
        outputs = [path for path in known if KEYS_AND_VALUES.search(path)]
        inputs = [path for path in known if LAST_OF_MLP.search(path)]
        if self.config.feedforward != AUTO:
            inputs = find_targets(trunk, self.config.feedforward)[0] if self.config.feedforward else []
        if self.config.targets != AUTO or not (outputs or inputs):
            outputs = find_targets(trunk, self.config.targets)[0]
        return [path for path in outputs if path not in inputs], inputs
