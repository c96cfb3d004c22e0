"""Comma-separated values in the wild: any of four delimiters, quotes, with and without a header."""

from __future__ import annotations

from pathlib import Path

from tunewright.data.source._delimited import Delimited, DelimitedConfig
from tunewright.data.source.base import first_text


class Csv(Delimited):
    """Delimited text whose fields may stand between double quotes."""

    class Config(DelimitedConfig):
        """The options of csv files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.9 by the name, 0.3 for other text with a delimiter in its first line."""
        text = first_text(head)
        if path.suffix.lower() == ".csv":
            return 0.3 if text[:1] in ("{", "[") and '"' in text[:20] and ":" in text[:200] else 0.9
        line = text.splitlines()[0] if text else ""
        return 0.3 if any(mark in line for mark in ",;|") else 0.1
