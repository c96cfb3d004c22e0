"""Removal of characters that have no shape: control codes and stray byte-order marks."""

from __future__ import annotations

import re

from tunewright.config.base import ComponentConfig

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\u200b]")


class Control:
    r"""Removes control characters; every kind of line end becomes ``\n``, tabs stay."""

    class Config(ComponentConfig):
        """``control`` has no options."""

    def __init__(self, config: Config | None = None) -> None:
        """Nothing to hold."""

    def apply(self, text: str) -> str:
        """The text without them. Joiners that emoji and Indic scripts need are kept."""
        if text.isprintable():
            return text
        return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))
