"""The declared space, checked against the options that there are, as the records that strategies read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tunewright.errors import Problem, RecipeError, nearest
from tunewright.tune.config import Bounds
from tunewright.types import Range, Space, Value

WHERE = "tune.space"

Refusal = Callable[[str, Value], Problem | None]
"""What is wrong with an option's value, or None where the recipe accepts it."""


def read_space(given: Mapping[str, Any], options: Collection[str], refuse: Refusal) -> Space:
    """The space that a recipe declares; ``options`` are those that may be searched, by their dotted path.

    Each end of a range and each value is tried with ``refuse``. Raises RecipeError with every problem.
    """
    problems: list[Problem] = []
    space: dict[str, Range | tuple[Value, ...]] = {}
    for path, declared in given.items():
        if path not in options:
            problems.append(_unknown(path, options))
            continue
        ends = (declared.low, declared.high) if isinstance(declared, Bounds.Config) else tuple(declared)
        refused = [found for value in ends if (found := refuse(path, value)) is not None]
        problems += [
            Problem(f"{WHERE}.{path}", found.problem, found.given, found.allowed, found.hint) for found in refused
        ]
        if isinstance(declared, Bounds.Config):
            space[path] = _range(declared, whole=not refused and _is_whole(path, declared, refuse))
        elif len(set(ends)) < len(ends):
            problems.append(Problem(f"{WHERE}.{path}", "a value is given twice", list(ends), "each value once"))
        else:
            space[path] = ends
    if problems:
        raise RecipeError(problems)
    return space


def describe_space(space: Space) -> dict[str, object]:
    """The space as a recipe writes it."""
    return {
        path: list(one)
        if isinstance(one, tuple)
        else {"low": one.low, "high": one.high, "log": one.log, "step": one.step}
        for path, one in space.items()
    }


def points(declared: Range, count: int) -> tuple[Value, ...]:
    """The values of a range that a grid visits: every step, or ``count`` of them evenly, both ends included."""
    low, high = declared.low, declared.high
    if declared.step is not None:
        found = [low + index * declared.step for index in range(round((high - low) / declared.step) + 1)]
    elif declared.log:
        found = [low * (high / low) ** (index / (count - 1)) for index in range(count)]
    else:
        found = [low + (high - low) * index / (count - 1) for index in range(count)]
    if declared.whole:
        return tuple(dict.fromkeys(round(value) for value in found))
    return tuple(min(value, high) for value in found)


def _range(declared: Bounds.Config, *, whole: bool) -> Range:
    low, high, step = declared.low, declared.high, declared.step
    if step is not None:  # end on the last step
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Range(low=low, high=high, log=declared.log, step=step, whole=whole)


def _is_whole(path: str, declared: Bounds.Config, refuse: Refusal) -> bool:
    """Whether only whole numbers are meant: the ends are whole, and the option takes nothing between them."""
    given = (declared.low, declared.high, declared.step)
    return all(isinstance(value, int | None) for value in given) and refuse(path, declared.low + 0.5) is not None


def _unknown(path: str, options: Collection[str]) -> Problem:
    sections = {option.partition(".")[0] for option in options}
    near = nearest(path, options) if path.partition(".")[0] in sections or "." not in path else None
    allowed = f"an option of {', '.join(sorted(sections))}"
    hint = f"did you mean {near}?" if near else "remove it; what trials are judged on is never searched"
    return Problem(WHERE, "there is no such option to search", path, allowed, hint)
