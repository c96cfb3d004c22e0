"""Low-rank adapters (LoRA): the base stays as it is, a small update is learned beside each projection."""

from __future__ import annotations

import torch

from tunewright.adapt.method._adapter import AdapterConfig, adapter_space, merge, take_adapter, wrap_adapted
from tunewright.config.base import Option
from tunewright.types import Adapter, Objective, Plan, Space, Trainable


class Lora:
    """Train low-rank updates of the trunk's projections, and a fresh head whole."""

    class Config(AdapterConfig):
        """Options of LoRA."""

        rslora: bool = Option(False, "Scale by alpha / sqrt(rank) instead, so that large ranks learn as fast.")
        dora: bool = Option(False, "Learn the length of each row of a matrix apart from its direction.")

    lr_factor = 4.0
    recomputes = False

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module with an adapter beside each target. Raises InputError for targets that it does not have."""
        variant = {"use_rslora": self.config.rslora, "use_dora": self.config.dora}
        return wrap_adapted(module, objective, self.config, seed, **variant)

    def adapter(self, trainable: Trainable) -> Adapter:
        """The updates in peft's format."""
        return take_adapter(trainable)

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module with the updates added to its matrices."""
        merge(trainable.module)
        return trainable.module

    def search_space(self, plan: Plan) -> Space:
        """Rank and dropout of the adapters."""
        return adapter_space(self.config)
