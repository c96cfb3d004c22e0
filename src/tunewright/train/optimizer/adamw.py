"""AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2); the rate multiplies the decay too."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.train.optimizer.base import AdamConfig, Group, adamw


class Adamw:
    """Adam with decoupled weight decay."""

    class Config(AdamConfig):
        """Options of AdamW."""

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Torch's own."""
        return adamw(self.config, groups)
