"""Removal of white space around a text."""

from __future__ import annotations

from tunewright.config.base import ComponentConfig


class Trim:
    """Removes white space at both ends, the ideographic space included."""

    class Config(ComponentConfig):
        """``trim`` has no options."""

    def __init__(self, config: Config | None = None) -> None:
        """Nothing to hold."""

    def apply(self, text: str) -> str:
        """The text without outer white space."""
        return text.strip()
