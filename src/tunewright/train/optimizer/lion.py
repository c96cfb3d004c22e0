"""Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2).

    u = sign(beta1 m + (1 - beta1) g),  w <- w - lr (u + decay w),  m <- beta2 m + (1 - beta2) g

Each weight moves by the rate, whatever its gradient, so the rate is a third to a tenth of AdamW's (section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunewright.config.base import Option
from tunewright.train.optimizer.base import Group, OptimizerConfig


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


class _Lion(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["moment"] = torch.zeros_like(parameter)
                direction = torch.lerp(parameter.grad, state["moment"], beta1).sign_()
                parameter.mul_(1.0 - lr * group["weight_decay"]).add_(direction, alpha=-lr)
                state["moment"].lerp_(parameter.grad, 1.0 - beta2)
