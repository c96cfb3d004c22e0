"""Tab-separated values: a quote is an ordinary character, as in most corpora."""

from __future__ import annotations

from pathlib import Path

from tunewright.data.source._delimited import Delimited, DelimitedConfig
from tunewright.data.source.base import first_text


class Tsv(Delimited):
    """Delimited text with tabs; only a line end ends a row."""

    has_quotes = False
    delimiter = "\t"

    class Config(DelimitedConfig):
        """The options of tsv files."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.95 by the name, 0.65 for other text with tabs in every one of its first lines."""
        if path.suffix.lower() in (".tsv", ".tab"):
            return 0.95
        if path.suffix.lower() == ".csv":
            return 0.0
        lines = [line for line in first_text(head).splitlines()[:50] if line.strip()][:-1] or [""]
        return 0.65 if all(line.count("\t") == lines[0].count("\t") > 0 for line in lines) else 0.0
