"""Grid search: every combination of a few values of each option, once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.tune.space import points
from tunewright.types import Space, Trials, Value

MOST_POINTS = 1_000_000


class Grid:
    """Visits every combination once, in an order that the seed shuffles, so that a search cut short has seen all over."""

    class Config(ComponentConfig):
        """Options of the grid."""

        points: int = Option(3, "Values taken from a range without a step, evenly, both ends included.", ge=2, le=1000)

    def __init__(self, config: Config) -> None:
        """Hold the options."""
        self.config = config

    def ask(self, space: Space, ended: Trials, seed: int) -> Mapping[str, Value] | None:
        """The combination whose turn it is; None after the last. Raises InputError for a grid beyond counting."""
        import numpy as np

        axes = {path: one if isinstance(one, tuple) else points(one, self.config.points) for path, one in space.items()}
        shape = [len(values) for values in axes.values()]
        total = math.prod(shape)
        if total > MOST_POINTS:
            raise InputError(
                "the grid has too many points",
                where="tune.space",
                given=f"{total:,} combinations of {len(axes)} options",
                allowed=f"at most {MOST_POINTS:,}",
                hint="tune.strategy=random, larger steps, or fewer options",
            )
        turn = len(ended.ended)
        if turn >= total:
            return None
        place = np.unravel_index(np.random.default_rng(seed).permutation(total)[turn], shape)
        return {path: values[index] for (path, values), index in zip(axes.items(), place, strict=True)}
