"""How values and counts are put in words, the same in messages, in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping


def shown(value: object) -> str:
    """A value for a table or a sentence: as it is typed, but a list without its brackets: ``a, b, c``."""
    return ", ".join(map(typed, value)) if isinstance(value, list | tuple) and value else typed(value)


def typed(value: object) -> str:
    """A value as a person would type it: words bare, nothing as ``none``, no text as two quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {typed(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(typed, value))}]"
    return str(value)


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """``1 row``, ``2,121 rows``, ``0.5 epochs``."""
    written = f"{int(number):,}" if number == int(number) else f"{number:,g}"
    return f"{written} {noun if number == 1 else plural or noun + 's'}"
