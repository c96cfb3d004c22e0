"""The seam of the converters (``assets/convert/*.py``), and the one form in which they write tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from tunewright.store.artifact import Draft
from tunewright.types import Tell


class Converter(Protocol):
    """Turns the members taken from the archives into what the asset is, inside a draft."""

    def convert(
        self, members: Mapping[str, Path], options: Mapping[str, object], result: str, draft: Draft, tell: Tell
    ) -> tuple[str, ...]:
        """Fill ``draft`` from ``members`` and return notes on what was met on the way.

        ``members`` maps names inside the archives, in the catalogue's order, to scratch files, which may be renamed
        within the draft. ``result`` is the file name of a data asset. Raises CorruptError where a member is not what
        the catalogue says.
        """
        ...


def render_csv(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bytes:
    """A csv file in UTF-8: commas, quotes only where needed, lines ended by a line feed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
