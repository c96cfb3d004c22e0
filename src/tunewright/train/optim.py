"""Optimisers and the learning-rate schedule.

AdamW: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, where the rate multiplies the decay
too. SGD with momentum: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning",
section 2, in torch's form: the velocity gathers gradients, and the rate multiplies it when it is applied. The schedule is a
linear warm-up to the peak, then a cosine down to zero (Loshchilov and Hutter 2017, "SGDR", equation 5, no restarts).
"""

from __future__ import annotations

import math
from typing import Literal

import torch

from tunewright.config.base import ComponentConfig, Option


class Optimizer:
    """Which optimiser, and how the learning rate moves."""

    class Config(ComponentConfig):
        """Options of the optimiser."""

        shorthand = "name"

        name: Literal["adamw", "sgd"] = Option("adamw", "adamw, or sgd with momentum.")
        weight_decay: float = Option(
            0.01, "Weight decay of matrices, not of embeddings, biases and norms; decoupled with adamw.", ge=0.0, le=1.0
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
    decayed, spared = split_by_decay(module)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=lr, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def split_by_decay(module: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The trainable parameters that decay, the matrices, and those that do not: biases, scales of norms, embeddings.

    An embedding row that never occurs must stay what it was; a bias or a scale at zero is no simpler model.
    """
    embeddings = {id(layer.weight) for layer in module.modules() if isinstance(layer, torch.nn.Embedding)}
    decayed: list[torch.nn.Parameter] = []
    spared: list[torch.nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if parameter.dim() > 1 and id(parameter) not in embeddings else spared).append(parameter)
    return decayed, spared


def rate_at(config: Optimizer.Config, step: int, num_steps: int, peak: float) -> float:
    """The learning rate of update ``step`` (0-based) of ``num_steps``."""
    warmup = round(config.warmup * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (0.5 * (1.0 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1.0 - progress)
