"""What every optimiser has: groups of parameters, and the options that several share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch

from tunewright.config.base import ComponentConfig, Option

Kind = Literal["matrix", "adapter", "other"]
"""A matrix of the model, a low-rank matrix beside one, or anything else: embeddings, biases, scales of norms."""

Group = dict[str, Any]
"""``params``, their ``kind``, ``lr``, ``weight_decay``, and the ``factor`` by which the scheduled rate is multiplied."""


class Optimizer(Protocol):
    """An optimiser (``train/optimizer/*.py``).

    All that it remembers of a parameter is tensors in the torch optimiser's ``state``, so that checkpoints hold it.
    """

    lr_factor: float
    """What the learning rate that is usual for adamw is multiplied by."""

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """The optimiser over the groups."""
        ...


class OptimizerConfig(ComponentConfig):
    """Options that every optimiser has."""

    weight_decay: float = Option(0.01, "Weight decay of matrices, not of embeddings, biases and norms.", ge=0.0, le=1.0)


class AdamConfig(OptimizerConfig):
    """Options of those that follow Adam."""

    beta1: float = Option(0.9, "Decay of the first moment.", ge=0.0, lt=1.0)
    beta2: float = Option(0.999, "Decay of the second moment.", ge=0.0, lt=1.0)
    epsilon: float = Option(1e-8, "Added to the denominator.", gt=0.0, le=1.0)


def adamw(config: AdamConfig, groups: Sequence[Group]) -> torch.optim.Optimizer:
    """Torch's AdamW, one kernel for an update."""
    return torch.optim.AdamW([*groups], betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


class EachAlone(torch.optim.Optimizer):
    """An optimiser that looks at one parameter at a time."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(group, parameter, parameter.grad, self.state[parameter])

    def update(
        self, group: Group, weights: torch.Tensor, gradients: torch.Tensor, state: dict[str, torch.Tensor]
    ) -> None:
        """One update of ``weights`` in place; ``state``, empty at first, is what is remembered of them."""
        raise NotImplementedError


class Joined(torch.optim.Optimizer):
    """Several optimisers over different parameters as one: their groups side by side, and one state."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        """``parts`` are driven through this one from now on."""
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> Any:
        """One update by each of them."""
        assert closure is None
        for part in self.parts:
            part.step()
