"""Adam (Kingma and Ba 2015, algorithm 1), where weight decay is part of the gradient and so scaled like it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.train.optimizer.base import AdamConfig, Group


class Adam:
    """Adam with weight decay in the gradient (L2)."""

    class Config(AdamConfig):
        """Options of Adam."""

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Torch's own."""
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam([*groups], betas=betas, eps=self.config.epsilon, fused=True)
