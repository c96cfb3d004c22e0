"""The mean of the weights over the updates: it is what is evaluated and kept, while the weights themselves go on training.

    mean_t = mean_(t-1) + w_t (weights_t - mean_(t-1)),  w_t = (1 - d) / (1 - d^t)

which is the exponential mean with its start taken out (as in Kingma and Ba 2015, section 3: the first mean is the first
weights), and with d = 1 the plain mean (w_t = 1 / t; Polyak and Juditsky 1992). An update that was skipped counts with the
weights as they stood. Part of every commit, so that a run which goes on has the same bits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from safetensors.torch import load_file, save_file

from tunewright.config.base import ComponentConfig, Option
from tunewright.train.consumers import NOTHING, Consumer
from tunewright.train.split import set_whole, whole
from tunewright.types import Directive, Step

if TYPE_CHECKING:
    from tunewright.store.artifact import Draft
    from tunewright.train.loop import Loop

MEANS = "average.safetensors"


class Average(Consumer):
    """The mean of what a loop trains; without one, all of this does nothing."""

    class Config(ComponentConfig):
        """Options of averaging."""

        shorthand = "name"

        name: Literal["none", "ema"] = Option(
            "none", "ema: an exponential mean of the weights is evaluated and kept in place of the last ones."
        )
        decay: float = Option(
            0.99,
            "Share of the mean that an update keeps: 0.99 looks back a hundred updates, 1 at all alike.",
            gt=0.0,
            le=1.0,
        )

    def __init__(self, config: Config, loop: Loop) -> None:
        """Nothing is averaged before the first update."""
        self.decay = config.decay
        self.loop = loop
        parameters = loop.module.named_parameters() if config.name == "ema" else ()
        self.weights = {name: value for name, value in parameters if value.requires_grad}
        self.means = {name: whole(value).clone() for name, value in self.weights.items()}

    def saw(self, step: Step) -> Collection[Directive]:
        """Take the weights after an update in."""
        if self.means:
            weight = (1.0 - self.decay) / (1.0 - self.decay**step.step) if self.decay < 1.0 else 1.0 / step.step
            for name, value in self.weights.items():
                self.means[name].lerp_(whole(value), weight)
        return NOTHING

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """The means in the place of the weights, for as long as the context lasts."""
        held = {name: whole(value).clone() for name, value in self.weights.items()}
        self._put(self.means)
        try:
            yield
        finally:
            self._put(held)

    def settle(self) -> None:
        """Leave the means in the place of the weights: training is over."""
        self._put(self.means)

    def copies(self) -> dict[str, torch.Tensor]:
        """The means of now, in main memory."""
        return {name: value.to("cpu", copy=True).contiguous() for name, value in self.means.items()}

    def write(self, draft: Draft, means: dict[str, torch.Tensor]) -> None:
        """Write ``copies`` into the draft of a commit."""
        if means:
            save_file(means, str(draft.path(MEANS)))

    def read(self, folder: Path) -> None:
        """Load the means of a commit."""
        if self.means:
            for name, value in load_file(str(folder / MEANS)).items():
                self.means[name].copy_(value)

    def _put(self, values: dict[str, torch.Tensor]) -> None:
        if values:
            for name, value in self.weights.items():
                set_whole(value, values[name])
            self.loop.worker.take_up()
