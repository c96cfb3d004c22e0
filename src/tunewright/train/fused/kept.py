"""What is cheap to make is not kept for the way back, but made again: norms, gates and activations.

They are a third of what a layer would keep, and take a hundredth of its time (selective recomputation, Korthikanti et al. 2022,
"Reducing Activation Recomputation in Large Transformer Models", section 5). Where memory is short, so are the widest rows of a
layer, half of what is left, for one product more (``again_through``). The same function of the same numbers gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch

Apply = Callable[[torch.Tensor], torch.Tensor]
Again = Callable[[], torch.Tensor]


class Made(NamedTuple):
    """Rows[N, H], and what makes them again from tensors that are kept anyway; None: the rows themselves are kept."""

    rows: torch.Tensor
    again: Again | None


def apply(layer: Apply, made: Made) -> torch.Tensor:
    """``layer(made.rows)``, whose way back makes the rows again where it needs them."""
    again = made.again
    if again is None or not torch.is_grad_enabled():
        return layer(made.rows)
    place, shape = made.rows.data_ptr(), made.rows.shape

    def keep(tensor: torch.Tensor) -> torch.Tensor | Again:
        return again if tensor.data_ptr() == place and tensor.shape == shape else tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, _bring):
        return layer(made.rows)


def again_through(layer: Apply, made: Made, *, forgets: bool) -> Made:
    """``apply(layer, made)``; with ``forgets`` what comes out is made again on the way back, once for both who need it there."""
    state = torch.get_rng_state() if forgets else None
    rows = apply(layer, made)
    if state is None or not torch.is_grad_enabled():
        return Made(rows, None)
    source = rows_again(made)

    def make() -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            return layer(source())

    return Made(rows, _Twice(make))


def rows_again(made: Made) -> Again:
    """What gives the rows on the way back, whether they are kept or made again."""
    rows = None if made.again else made.rows.detach().contiguous()
    return made.again or (lambda: cast("torch.Tensor", rows))


class _Twice:
    """Makes rows when it is called, and gives the same ones the second time; then it holds them no more."""

    def __init__(self, make: Again) -> None:
        self.make = make
        self.made: torch.Tensor | None = None

    def __call__(self) -> torch.Tensor:
        if self.made is None:
            self.made = self.make()
            return self.made
        made, self.made = self.made, None
        return made


def _bring(kept: torch.Tensor | Again) -> torch.Tensor:
    if isinstance(kept, torch.Tensor):
        return kept
    with torch.no_grad():
        return kept()
