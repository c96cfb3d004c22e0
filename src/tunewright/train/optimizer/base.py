"""What every optimiser has: groups of parameters, and the options that several share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol

import torch

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.train.split import rest_of, set_whole, whole

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
    """Torch's AdamW, one kernel for an update; of weights that are split, one of our own."""
    if any(rest_of(each) is not None for group in groups for each in group["params"]):
        return EachAdamw([*groups], {"betas": (config.beta1, config.beta2), "eps": config.epsilon})
    return torch.optim.AdamW([*groups], betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


class Direct(torch.optim.Optimizer):
    """An optimiser that is told where the gradients are, and what they are multiplied by, in place of ``parameter.grad``.

    ``copies`` and ``gradients``, by the id of a parameter, and ``clip`` are set from outside before a step: where the gradient
    lies if not in ``parameter.grad``, what it is multiplied by, and where the new weight is also written in bf16.
    """

    copies: Mapping[int, torch.Tensor] = MappingProxyType({})
    gradients: Mapping[int, torch.Tensor] = MappingProxyType({})
    clip = 1.0

    def square_sum(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The sum of squares of all the tensors, fp32 or bf16, in fp64."""
        parts = [torch.linalg.vector_norm(each, dtype=torch.float32).double() for each in tensors]
        return torch.stack(parts).square().sum()


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


class EachAdamw(EachAlone):
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) of one parameter at a time; its state is named as in torch's."""

    def update(
        self, group: Group, weights: torch.Tensor, gradients: torch.Tensor, state: dict[str, torch.Tensor]
    ) -> None:
        """Lines 5 to 12."""
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weights), torch.zeros_like(weights)
        state["step"] += 1
        (beta1, beta2), step = group["betas"], float(state["step"])
        first = state["exp_avg"].lerp_(gradients, 1.0 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradients, gradients, value=1.0 - beta2)
        root = second.sqrt().div_((1.0 - beta2**step) ** 0.5).add_(group["eps"])
        weights.mul_(1.0 - group["lr"] * group["weight_decay"]).addcdiv_(
            first, root, value=-group["lr"] / (1.0 - beta1**step)
        )


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


class Halves(Direct):
    """Drives optimisers that look at one parameter at a time over weights in two halves (``train/split.py``)."""

    def __init__(self, driven: torch.optim.Optimizer) -> None:
        """``driven`` is driven through this one from now on. Raises InputError for one that looks at more."""
        super().__init__(driven.param_groups, {})
        self.parts: list[EachAlone] = []
        for part in driven.parts if isinstance(driven, Joined) else [driven]:
            if not isinstance(part, EachAlone):
                raise InputError(
                    "this optimiser cannot move weights in two halves",
                    where="train.master",
                    given="split",
                    allowed="adamw, adamw_8bit or lion; fp32 with every optimiser",
                    hint="train.master=fp32",
                )
            part.state = self.state
            self.parts.append(part)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        assert closure is None
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    gradient = self.gradients.get(id(parameter), parameter.grad)
                    if gradient is not None:
                        weights = whole(parameter)
                        part.update(group, weights, gradient.float() * self.clip, self.state[parameter])
                        set_whole(parameter, weights)
