"""JSON as the store writes and reads it: UTF-8, sorted keys, no NaN; records become plain values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

MAX_DOCUMENT_BYTES = 16 << 20
"""Above this size a manifest or document is refused before it is parsed."""


def render_json(value: object) -> bytes:
    """``value`` for people: sorted keys, two spaces, a final newline. Raises ValueError for NaN and infinities."""
    try:
        return _dump(value, indent=2, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, as undecodable file names have them
        return _dump(value, indent=2, ensure_ascii=True).encode() + b"\n"


def render_line(value: object) -> bytes:
    """``value`` on one line of ASCII, sorted keys, without the newline. Raises ValueError for NaN and infinities."""
    return _dump(value, separators=(",", ":"), ensure_ascii=True).encode()


def parse_object(content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``. Raises ValueError, whatever is wrong with it."""
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def finite_or_none(value: object) -> object:
    """``value`` with each NaN or infinity in it replaced by None, for logs that must never refuse a line."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_or_none(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(inner) for inner in value]
    return value


def _dump(value: object, **options: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, default=_plain, **options)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
