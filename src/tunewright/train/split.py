"""Weights in two halves: bf16, with which the model computes, and the 16 bits that these lack of fp32.

Of the usual six bytes a weight (fp32, and its bf16 copy) four remain, and an update is the same: the halves are put together,
the optimiser moves the weight in fp32, and it is divided again. With bits the 32 of a weight as an integer,

    bf16 = (bits + 2^15) / 2^16, rounded down        rest = bits - 2^16 bf16, in -2^15 .. 2^15 - 1

which loses nothing (cf. FlashOptim, arXiv 2602.23349, section 3, and Zamirai et al. 2020, "Revisiting BFloat16 Training",
whose Kahan sums keep 16 bits of each weight's error). The only difference from a rounded copy: exact halves go away from zero,
not to the even neighbour. The rest is part of the optimiser's state, and so of every commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tunewright.errors import InputError
from tunewright.train.optimizer.base import Direct, EachAlone, Joined

REST = "rest"


def divide(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two halves of weights in fp32: bf16, and int16 of the same shape."""
    bits = weights.contiguous().view(torch.int32)
    upper = (bits + (1 << 15)) >> 16
    return upper.to(torch.int16).view(torch.bfloat16), (bits - (upper << 16)).to(torch.int16)


def put_together(upper: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """The weights in fp32."""
    bits = upper.contiguous().view(torch.int16).to(torch.int32) << 16
    return (bits + rest.to(torch.int32)).view(torch.float32)


class Split(Direct):
    """Drives optimisers that look at one parameter at a time, over weights that lie in two halves."""

    def __init__(self, whole: torch.optim.Optimizer, rests: dict[torch.nn.Parameter, torch.Tensor]) -> None:
        """``whole`` is driven through this one from now on; ``rests`` are those of its parameters.

        Raises InputError for an optimiser that is not made of those.
        """
        super().__init__(whole.param_groups, {})
        self.parts = [*_parts(whole)]
        for part in self.parts:
            part.state = self.state
        for parameter, rest in rests.items():
            self.state[parameter][REST] = rest

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        assert closure is None
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    gradient = self.gradients.get(id(parameter), parameter.grad)
                    if gradient is not None:
                        self._update(part, group, parameter, gradient)

    def _update(self, part: EachAlone, group: dict[str, Any], parameter: torch.Tensor, gradient: torch.Tensor) -> None:
        state = self.state[parameter]
        rest = state.pop(REST, None)  # a commit of whole weights, which another run goes on from, has none
        weights = parameter.float() if rest is None else put_together(parameter, rest)
        part.update(group, weights, gradient.float() * self.clip, state)
        upper, state[REST] = divide(weights)
        parameter.copy_(upper)


def split_weights(module: torch.nn.Module) -> dict[torch.nn.Parameter, torch.Tensor]:
    """Leave bf16 in the place of every weight that is trained; the rests, by parameter."""
    rests = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data, rests[parameter] = divide(parameter.detach().float())
    return rests


def _parts(whole: torch.optim.Optimizer) -> Iterator[EachAlone]:
    parts: Sequence[torch.optim.Optimizer] = whole.parts if isinstance(whole, Joined) else [whole]
    for part in parts:
        if not isinstance(part, EachAlone):
            raise InputError(
                "this optimiser cannot move weights that lie in two halves",
                where="train.master",
                given="split",
                allowed="adamw, adamw_8bit or lion; fp32 with every optimiser",
                hint="train.optimizer=adamw",
            )
        yield part
