"""Adafactor: the second moments of a matrix as one row and one column, no first moment.

Shazeer and Stern 2018: factors as in algorithm 2, the update clipped to a root mean square of 1 (section 6), and the decay
1 - t^-0.8 (section 7.2). Steps are absolute (table 2), so that the rates are those of AdamW: torch multiplies the rate by the
root mean square of the parameter where that is larger than its second epsilon, which is 1 here. With the steps relative to a
parameter of section 8, the factor of an adapter that starts at zero would hardly move. Torch's first epsilon, squared in one
place and not in the other, is the root of the paper's 1e-30; its default (1e-7) lies above the squares of usual gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.train.optimizer.base import Group, OptimizerConfig


class Adafactor:
    """Second moments in factors: next to no memory beside the weights and their gradients."""

    class Config(OptimizerConfig):
        """Options of Adafactor."""

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Torch's own."""
        return torch.optim.Adafactor([*groups], eps=(1e-15, 1.0))
