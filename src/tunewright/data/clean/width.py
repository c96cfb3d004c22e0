"""Full-width forms to half-width forms, as they are mixed in Chinese, Japanese and Korean text."""

from __future__ import annotations

from tunewright.config.base import ComponentConfig, Option

_ALL = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_WORDS = {code: half for code, half in _ALL.items() if chr(half).isalnum() or half == 0x20}


class Width:
    """Maps the full-width forms U+FF01 to U+FF5E and the ideographic space to ASCII."""

    class Config(ComponentConfig):
        """The options of ``width``."""

        punctuation: bool = Option(True, "Map punctuation too; switched off, Chinese commas and question marks stay.")

    def __init__(self, config: Config | None = None) -> None:
        """Hold the table."""
        self._table = _ALL if (config or self.Config()).punctuation else _WORDS

    def apply(self, text: str) -> str:
        """The text in half-width forms."""
        return text if text.isascii() else text.translate(self._table)
