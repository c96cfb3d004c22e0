"""Decoding of JSON records: repeated keys are seen, NaN is nothing, depth and number size cannot crash."""

from __future__ import annotations

import json
from typing import Any

from tunewright.data.source.base import Unusable
from tunewright.types import Origin, Record


class Repeated(dict[str, Any]):
    """An object in which a key stands twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Repeated(made)


def _nothing(_constant: str) -> None:
    return None


DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_nothing)

PROBLEMS = (ValueError, RecursionError)
"""What decoding may raise: JSONDecodeError, a number with too many digits, nesting that is too deep."""


def as_record(number: int, value: object, origin: Origin) -> Record | None:
    """A decoded value as a record, an Unusable one for a repeated key, or None when it is not an object."""
    if isinstance(value, Repeated):
        return Unusable(number, {}, origin, "a key stands twice")
    return Record(number, value, origin) if isinstance(value, dict) else None


def explain(problem: BaseException) -> str:
    """What is wrong with a piece of JSON, in words."""
    if isinstance(problem, json.JSONDecodeError):
        return problem.msg
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
