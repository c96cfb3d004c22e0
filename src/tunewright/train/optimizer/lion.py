"""Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2).

    u = sign(beta1 m + (1 - beta1) g),  w <- w - lr (u + decay w),  m <- beta2 m + (1 - beta2) g

Each weight moves by the rate, whatever its gradient, so the rate is a third to a tenth of AdamW's (section 5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.config.base import Option
from tunewright.train.optimizer.base import EachAlone, Group, OptimizerConfig


class Lion:
    """The sign of a momentum: one moment in place of two."""

    class Config(OptimizerConfig):
        """Options of Lion."""

        beta1: float = Option(0.9, "Share of the moment in the direction of an update.", ge=0.0, lt=1.0)
        beta2: float = Option(0.99, "Decay of the moment.", ge=0.0, lt=1.0)

    lr_factor = 0.2

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """An optimiser of its own."""
        return _Lion([*groups], {"betas": (self.config.beta1, self.config.beta2)})


class _Lion(EachAlone):
    def update(
        self, group: Group, weights: torch.Tensor, gradients: torch.Tensor, state: dict[str, torch.Tensor]
    ) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        moment = state["moment"] if state else torch.zeros_like(weights)
        state["moment"] = moment
        direction = torch.lerp(gradients, moment, beta1).sign_()
        weights.mul_(1.0 - lr * group["weight_decay"]).add_(direction, alpha=-lr)
        moment.lerp_(gradients, 1.0 - beta2)
