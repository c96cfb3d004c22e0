"""Muon: each matrix moves by its momentum made orthogonal, for the matrices of adapters; AdamW for everything else.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with five Newton-Schulz iterations, by torch.
Steps are scaled by 0.2 sqrt(max(rows, columns)), the size of AdamW's, so that its rates serve (Liu et al. 2025, "Muon is
Scalable for LLM Training", section 2.2). Matrices that were pretrained by Adam lose by it; the fresh ones of an adapter do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunewright.config.base import Option
from tunewright.errors import InputError
from tunewright.train.optimizer.base import AdamConfig, Group, Joined, adamw


class Muon:
    """Orthogonal updates of adapters, and AdamW for what else is trained."""

    class Config(AdamConfig):
        """Options of Muon; betas and epsilon are AdamW's."""

        momentum: float = Option(0.95, "Momentum of adapters.", ge=0.0, lt=1.0)

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Torch's Muon and torch's AdamW as one. Raises InputError where no adapter is trained."""
        adapters = [group for group in groups if group["kind"] == "adapter"]
        others = [group for group in groups if group["kind"] != "adapter"]
        if not adapters:
            raise InputError(
                "muon trains the matrices of adapters; those of a pretrained model get worse by it",
                where="train.optimizer",
                given="muon, with a method that trains no adapter",
                allowed="method=lora or qlora; or another optimiser, such as adamw",
                hint="method=lora",
            )
        muon = torch.optim.Muon(adapters, momentum=self.config.momentum, adjust_lr_fn="match_rms_adamw")
        return Joined([muon, *([adamw(self.config, others)] if others else [])])
