"""How values, counts, times and sizes are put in words, the same in messages, in the terminal and on the page."""

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


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.4 s``, ``12 s``, ``4 min 9 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 or seconds == 0 else "< 0.1 s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def size(num_bytes: float) -> str:
    """Bytes in decimal units: ``812 bytes``, ``3.4 MB``."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} bytes"
    for limit, unit in ((1e6, "kB"), (1e9, "MB"), (1e12, "GB"), (float("inf"), "TB")):
        if num_bytes < limit * 0.9995:
            amount = num_bytes / {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
            return f"{amount:.1f} {unit}" if amount < 100 else f"{amount:,.0f} {unit}"
    raise AssertionError(num_bytes)
