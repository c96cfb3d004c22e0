"""Tree-structured Parzen estimator: where good trials are dense and bad ones are not."""

from __future__ import annotations

from collections.abc import Mapping

from tunewright.config.base import ComponentConfig, Option
from tunewright.tune.bridge import load_optuna, sample, seed_of
from tunewright.types import Space, Trials, Value


class Tpe:
    """Models the densities of good and of bad trials, and draws where their ratio is high; suits mixed spaces.

    Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4.
    """

    class Config(ComponentConfig):
        """Options of the estimator."""

        startup: int = Option(8, "Random trials before the densities are modelled.", ge=1)
        candidates: int = Option(24, "Points drawn for each trial, of which the most promising is taken.", ge=1)

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value]:
        """The most promising of some points drawn from the density of the good trials."""
        sampler = load_optuna().samplers.TPESampler(
            n_startup_trials=self.config.startup,
            n_ei_candidates=self.config.candidates,
            seed=seed_of(seed, ended),
        )
        return sample(sampler, space, ended)
