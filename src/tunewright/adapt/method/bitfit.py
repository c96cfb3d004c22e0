"""BitFit: only the bias terms of the trunk move (Ben Zaken et al. 2022, section 3), and a fresh head whole."""

from __future__ import annotations

import torch

from tunewright.adapt.method._adapter import train_beside
from tunewright.config.base import ComponentConfig
from tunewright.errors import InputError
from tunewright.types import Adapter, Objective, Phase, Plan, Space, Trainable


class Bitfit:
    """Train the bias terms alone, about a thousandth of an encoder, and a fresh head whole."""

    class Config(ComponentConfig):
        """BitFit has no options."""

    lr_factor = 10.0
    recomputes = False

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def wrap(self, module: torch.nn.Module, objective: Objective, seed: int) -> Trainable:
        """The module with its bias terms trainable. Raises InputError for a trunk that has none."""
        biases = [name for name, _ in module.named_parameters() if name.startswith("trunk.") and name.endswith(".bias")]
        if not biases:
            raise InputError(
                "this model has no bias terms to train",
                where="method",
                given="bitfit",
                allowed="a model with biases, such as BERT's kin or GPT-2; Llama's kin has none",
                hint="method=lora",
            )
        module.requires_grad_(False)
        for name in biases:
            module.get_parameter(name).requires_grad_(True)
        pattern = train_beside(module, r"^trunk\..*\.bias$")
        return Trainable(module, (Phase(objective, pattern),))

    def adapter(self, trainable: Trainable) -> Adapter | None:
        """None: the base's own terms were trained."""
        return None

    def fold(self, trainable: Trainable) -> torch.nn.Module:
        """The module as it is: nothing was added to it."""
        return trainable.module

    def search_space(self, plan: Plan) -> Space:
        """Nothing: there is no option."""
        return {}
