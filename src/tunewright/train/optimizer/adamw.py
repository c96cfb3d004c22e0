"""AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2); the rate multiplies the decay too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tunewright.infer.native.functions import AdamwPart, Kernels, kernels
from tunewright.train.optimizer.base import AdamConfig, Direct, Group, adamw
from tunewright.train.split import rest_of


class Adamw:
    """Adam with decoupled weight decay."""

    class Config(AdamConfig):
        """Options of AdamW."""

    lr_factor = 1.0

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """By our kernel on the CPU, where it was compiled; else torch's own."""
        native = kernels()
        parameters = [parameter for group in groups for parameter in group["params"]]
        fits = all(
            type(each.data) is torch.Tensor
            and each.device.type == "cpu"
            and (each.dtype == torch.float32 or rest_of(each) is not None)
            for each in parameters
        )
        if native is None or not fits or not all(each.is_contiguous() for each in parameters):
            return adamw(self.config, groups)
        return KernelAdamw(self.config, groups, native)


class KernelAdamw(Direct):
    """The update in one pass over gradient, moments, weight and its bf16 copy; what it remembers is named as in torch's AdamW.

    Weights in two halves (``train/split.py``) are put together and divided again in passing.
    """

    def __init__(self, config: AdamConfig, groups: Sequence[Group], native: Kernels) -> None:
        """``groups`` carry ``lr`` and ``weight_decay``."""
        super().__init__([*groups], {})
        self.config = config
        self.native = native

    def square_sum(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """By the kernel."""
        return self.native.square_sum([each.contiguous() for each in tensors])

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient, in one call."""
        assert closure is None
        given = [
            (group, parameter, gradient)
            for group in self.param_groups
            for parameter in group["params"]
            if (gradient := self.gradients.get(id(parameter), parameter.grad)) is not None
        ]
        if not given:
            return
        states = [self._state(parameter) for _, parameter, _ in given]
        counts = [state["step"] for state in states]
        torch._foreach_add_(counts, 1)
        parts = [
            self._part(group, parameter, gradient, state, step)
            for (group, parameter, gradient), state, step in zip(
                given, states, torch.stack(counts).tolist(), strict=True
            )
        ]
        config = self.config
        self.native.adamw_(parts, clip=self.clip, beta1=config.beta1, beta2=config.beta2, epsilon=config.epsilon)

    def _state(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(weight, dtype=torch.float32)
        return state

    def _part(
        self, group: Group, weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, torch.Tensor], step: float
    ) -> AdamwPart:
        """Algorithm 2, lines 5 to 12."""
        lr, beta1, beta2 = float(group["lr"]), self.config.beta1, self.config.beta2
        rest = rest_of(weight)
        return AdamwPart(
            weight=weight.detach() if rest is None else None,
            first=state["exp_avg"],
            second=state["exp_avg_sq"],
            gradient=gradient.contiguous(),
            copy=self.copies.get(id(weight)) if rest is None else weight.detach(),
            rest=rest,
            shrink=1.0 - lr * float(group["weight_decay"]),
            rate=lr / (1.0 - beta1**step),
            root=1.0 / math.sqrt(1.0 - beta2**step),
        )
