"""Random search: every trial is drawn from the whole space."""

from __future__ import annotations

from collections.abc import Mapping

from tunewright.config.base import NoOptions
from tunewright.tune.bridge import load_optuna, sample, seed_of
from tunewright.types import Space, Trials, Value


class Random:
    """Draws every trial from the whole space, independently of the others.

    Bergstra and Bengio 2012, "Random Search for Hyper-Parameter Optimization".
    """

    Config = NoOptions

    def __init__(self, config: NoOptions) -> None:
        """There is nothing to set."""

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value]:
        """A random point."""
        return sample(load_optuna().samplers.RandomSampler(seed_of(seed, ended)), space, ended)
