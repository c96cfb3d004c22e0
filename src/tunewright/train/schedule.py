"""How the learning rate moves: a linear warm-up to the peak, then one of five ways on.

cosine        Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts
linear        Devlin et al. 2019, appendix A.2
inverse_sqrt  with the root of the updates since the start (Vaswani et al. 2017, equation 3)
wsd           warm-up, stable, decay: the peak is held and left at last (Hu et al. 2024, "MiniCPM", section 4.2), by
              1 - sqrt(progress) (Haegele et al. 2024, "... Training Beyond Fixed Training Durations", section 3)
constant      the peak
"""

from __future__ import annotations

import math
from typing import Literal

from tunewright.config.base import ComponentConfig, Option


class Schedule:
    """How the learning rate moves over the updates."""

    class Config(ComponentConfig):
        """Options of the schedule."""

        shorthand = "name"

        name: Literal["cosine", "linear", "constant", "inverse_sqrt", "wsd"] = Option(
            "cosine", "How the rate falls after the warm-up; wsd holds it and lets it fall at last."
        )
        warmup: float = Option(
            0.1, "Share of all updates in which the rate rises from zero to its peak.", ge=0.0, le=1.0
        )
        final_rate: float = Option(0.0, "Share of the peak at which cosine, linear and wsd end.", ge=0.0, le=1.0)
        cooldown: float = Option(
            0.2, "Share of all updates, the last ones, in which the rate of wsd falls.", ge=0.0, le=1.0
        )


def rate_at(config: Schedule.Config, step: int, num_steps: int, peak: float) -> float:
    """The learning rate of update ``step`` (0-based) of ``num_steps``."""
    warmup = round(config.warmup * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.name == "constant":
        return peak
    if config.name == "inverse_sqrt":
        return peak * math.sqrt(max(1, warmup) / (step + 1))
    start = max(warmup, num_steps - round(config.cooldown * num_steps)) if config.name == "wsd" else warmup
    progress = max(0, step - start) / max(1, num_steps - start)
    left = {
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)), "linear": 1.0 - progress, "wsd": 1.0 - math.sqrt(progress),
    }[config.name]  # fmt: skip
    return peak * (config.final_rate + (1.0 - config.final_rate) * left)
