"""Optimisers and the learning-rate schedule.

AdamW: Loshchilov and Hutter 2019, algorithm 2. SGD with momentum: Sutskever et al. 2013, section 2. The schedule is linear
warm-up to the peak, then a cosine down to zero (Loshchilov and Hutter 2017, equation 5, without restarts).
"""

from __future__ import annotations

import math
import re
from typing import Literal

import torch

from tunewright.config.base import ComponentConfig, Option

NO_DECAY = re.compile(r"(\.bias$|norm|embeddings?\.|\bwte\b|\bwpe\b|embed_tokens)", re.IGNORECASE)
"""Biases, norms and embeddings are not decayed: a row of the embedding that never occurs must stay what it was."""


class Optimizer:
    """Which optimiser, and how the learning rate moves."""

    class Config(ComponentConfig):
        """Options of the optimiser."""

        shorthand = "name"

        name: Literal["adamw", "sgd"] = Option("adamw", "adamw, or sgd with momentum.")
        weight_decay: float = Option(
            0.01, "Decoupled weight decay (not on biases, norms and embeddings).", ge=0.0, le=1.0
        )
        beta1: float = Option(0.9, "Decay of AdamW's first moment.", ge=0.0, lt=1.0)
        beta2: float = Option(0.999, "Decay of AdamW's second moment.", ge=0.0, lt=1.0)
        epsilon: float = Option(1e-8, "Added to AdamW's denominator.", gt=0.0, le=1.0)
        momentum: float = Option(0.9, "Momentum of sgd.", ge=0.0, lt=1.0)
        schedule: Literal["cosine", "linear", "constant"] = Option("cosine", "How the rate falls after the warm-up.")
        warmup: float = Option(
            0.1, "Share of all updates in which the rate rises from zero to its peak.", ge=0.0, le=1.0
        )


def make_optimizer(config: Optimizer.Config, module: torch.nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimiser over the module's trainable parameters, in two groups: decayed and not decayed."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if not NO_DECAY.search(name)], "weight_decay": config.weight_decay},
        {"params": [p for name, p in named if NO_DECAY.search(name)], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=lr, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def rate_at(config: Optimizer.Config, step: int, num_steps: int, peak: float) -> float:
    """The learning rate of update ``step`` (0-based) of ``num_steps``."""
    warmup = round(config.warmup * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (0.5 * (1.0 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1.0 - progress)
