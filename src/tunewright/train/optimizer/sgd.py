"""Stochastic gradient descent with momentum, in torch's form.

Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", section 2; the velocity gathers
gradients (those of the decay, too), and the rate multiplies it when it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.config.base import Option
from tunewright.train.optimizer.base import Group, OptimizerConfig


class Sgd:
    """Stochastic gradient descent with momentum."""

    class Config(OptimizerConfig):
        """Options of gradient descent."""

        momentum: float = Option(0.9, "Share of the velocity that is kept.", ge=0.0, lt=1.0)

    lr_factor = 100.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Torch's own."""
        return torch.optim.SGD([*groups], momentum=self.config.momentum)
