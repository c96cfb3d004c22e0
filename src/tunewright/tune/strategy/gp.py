"""Gaussian process: a smooth surface through the trials, and its most promising point next."""

from __future__ import annotations

from collections.abc import Mapping

from tunewright.config.base import ComponentConfig, Option
from tunewright.tune.bridge import load_optuna, sample, seed_of
from tunewright.types import Space, Trials, Value


class Gp:
    """Fits a Gaussian process to the trials and takes the point of largest expected improvement; suits few, dear trials.

    Snoek et al. 2012, "Practical Bayesian Optimization of Machine Learning Algorithms".
    """

    class Config(ComponentConfig):
        """Options of the Gaussian process."""

        startup: int = Option(6, "Random trials before the surface is fitted.", ge=1)

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value]:
        """The point of largest expected improvement."""
        sampler = load_optuna().samplers.GPSampler(n_startup_trials=self.config.startup, seed=seed_of(seed, ended))
        return sample(sampler, space, ended)
