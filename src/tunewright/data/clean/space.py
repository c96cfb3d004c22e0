"""Collapse of white space inside a text."""

from __future__ import annotations

import re

from tunewright.config.base import ComponentConfig, Option


class Space:
    """Makes every run of white space one blank."""

    class Config(ComponentConfig):
        """The options of ``space``."""

        keep_lines: bool = Option(False, "Keep single line ends; only blanks and empty lines are squeezed.")

    def __init__(self, config: Config | None = None) -> None:
        """Hold whether line ends stay."""
        self._keep_lines = (config or self.Config()).keep_lines

    def apply(self, text: str) -> str:
        """The text with single blanks, and with no white space at the ends."""
        if self._keep_lines:
            lines = (" ".join(line.split()) for line in re.split(r"\r\n|\r|\n", text))
            return "\n".join(line for line in lines if line)
        return " ".join(text.split())
