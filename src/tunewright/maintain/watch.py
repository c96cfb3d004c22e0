"""The verb of the stage: every signal over one window of requests, and whether to raise the alarm.

requests ─▶ Window ─┐
                    ├─▶ signals ─▶ p-values ─▶ corrected for their number ─▶ Drift
training data ─▶ Window ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tunewright import extensions
from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.types import Drift, Reading, Tell, Window, tell_nobody

FAMILY = "maintain.signal"
FEWEST_ROWS = 20
"""Fewer rows cannot show anything but the grossest change."""


class Watch:
    """Watching for drift: its options."""

    class Config(ComponentConfig):
        """Options of watching."""

        level: float = Option(
            0.01, "How often any signal may give a false alarm: 0.01 is one window in 100.", gt=0, lt=0.5
        )
        signals: Literal["auto"] | list[str] = Option("auto", "The signals to look at; auto: all that apply.")
        rows: int = Option(
            2000, "The most rows of the window, and of the reference, that are compared.", ge=FEWEST_ROWS
        )
        seed: int = Option(0, "Draws the rows and the permutations.", ge=0)


def watch(
    config: Watch.Config,
    window: Window,
    reference: Window,
    *,
    correct: Callable[[Sequence[float]], Sequence[float]],
    tell: Tell = tell_nobody,
) -> Drift:
    """Compare a window of distinct requests with the reference.

    ``correct`` turns p-values into ones that hold for all of them together (Holm's). If requests and reference are of one
    kind, the alarm is false with probability ``level`` at most, over the draw of both. Raises InputError for a signal that
    does not exist, and where there are fewer than 20 rows to compare.
    """
    names = extensions.names(FAMILY) if config.signals == "auto" else tuple(config.signals)
    for name in names:
        extensions.check(FAMILY, name, where="signals", otherwise="signals=auto")
    _require_rows(window, "requests")
    _require_rows(reference, "training data")
    readings: list[Reading] = []
    for number, name in enumerate(names):
        tell("watching", number, len(names), name.replace("_", " "))
        found = extensions.load(FAMILY, name)().score(window, reference, config.level / len(names), config.seed)
        if found is not None:
            readings.append(found)
    tell("watching", len(names), len(names), "")
    corrected = correct([each.p for each in readings])
    readings = [
        replace(each, p_holm=p, is_alarm=p <= config.level) for each, p in zip(readings, corrected, strict=True)
    ]
    loud = [each for each in readings if each.is_alarm]
    return Drift(
        readings=tuple(readings),
        level=config.level,
        num_rows=len(window.texts),
        is_alarm=bool(loud),
        sentence=_sentence(loud, len(window.texts), config.level),
    )


def draw(num_rows: int, most: int, seed: int) -> list[int]:
    """``most`` of the rows (or all of them) by chance, in order."""
    if num_rows <= most:
        return list(range(num_rows))
    return sorted(np.random.default_rng(seed).choice(num_rows, most, replace=False).tolist())


def _require_rows(window: Window, what: str) -> None:
    if len(window.texts) < FEWEST_ROWS:
        raise InputError(
            "too few rows to compare",
            where=what,
            given=f"{len(window.texts)} distinct texts",
            allowed=f"{FEWEST_ROWS} or more",
            hint="collect more requests, then watch again",
        )


def _sentence(loud: Sequence[Reading], num_rows: int, level: float) -> str:
    rate = f"of files like the training data, at most {100 * level:g} % would raise an alarm"
    if not loud:
        return f"No drift: {num_rows:,} requests, taken together, look like the training data; {rate}."
    first = min(loud, key=lambda each: each.p_holm)
    others = f", also {', '.join(each.signal for each in loud if each is not first)}" if len(loud) > 1 else ""
    return f"Drift: {num_rows:,} requests, taken together, differ in {first.signal} ({first.sentence}){others}; {rate}."
