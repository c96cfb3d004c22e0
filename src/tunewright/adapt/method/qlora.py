"""QLoRA: the trunk's frozen matrices in 4 bits, low-rank adapters on top (Dettmers et al. 2023, section 3)."""

from __future__ import annotations

from typing import Any

import torch

from tunewright.adapt.method._adapter import (
    AdapterConfig,
    adapter_space,
    merge,
    projections,
    put,
    take_adapter,
    wrap_adapted,
)
from tunewright.adapt.nf4 import FourBit
from tunewright.config.base import Option
from tunewright.types import Adapter, Objective, Plan, Space, Trainable


class Qlora:
    """Train low-rank updates over a base kept in 4 bits, so that a model of 8 times the memory fits."""

    class Config(AdapterConfig):
        """Options of QLoRA."""

        double_quantisation: bool = Option(
            True, "Keep the magnitudes of the blocks in 8 bits too: 4.13 bits a weight instead of 4.5."
        )

    lr_factor = 4.0
    recomputes = True

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module with its trunk's linear layers in 4 bits and adapters beside the targets.

        It computes what the 4 bits hold of the base. Raises InputError for targets that the trunk does not have.
        """
        trainable = wrap_adapted(module, objective, self.config, seed)
        trunk: Any = module.trunk
        for path, layer in [*projections(trunk)]:
            if ".lora_" not in path:
                put(trunk, path, FourBit(layer, double_quantisation=self.config.double_quantisation))
        return trainable

    def adapter(self, trainable: Trainable) -> Adapter:
        """The updates in peft's format. They were learned beside the 4 bits; beside the whole base they fit closely."""
        return take_adapter(trainable)

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module on the CPU, its matrices in fp32 as the 4 bits have them, with the updates added."""
        module: Any = trainable.module.to("cpu")
        for path, layer in [*module.trunk.named_modules()]:
            if isinstance(layer, FourBit):
                put(module.trunk, path, layer.unpack())
        merge(module)
        plain: torch.nn.Module = module
        return plain

    def search_space(self, plan: Plan) -> Space:
        """Rank and dropout of the adapters."""
        return adapter_space(self.config)
