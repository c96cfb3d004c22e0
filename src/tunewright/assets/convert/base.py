"""The seam of the converters (``assets/convert/*.py``), and the one form in which they write tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tunewright.store.artifact import Draft
from tunewright.types import Tell, tell_nobody


@dataclass(frozen=True, slots=True)
class Material:
    """What a converter gets.

    ``members`` maps names inside the archives, in the catalogue's order, to scratch files, which may be renamed within the
    draft. ``result`` is the file name of a data asset, "" for a model.
    """

    members: Mapping[str, Path]
    result: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    tell: Tell = tell_nobody


class Converter(Protocol):
    """Turns the members taken from the archives into what the asset is, inside a draft."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Fill ``draft`` and return notes on what was met; CorruptError where a member is not what it should be."""
        ...


def render_csv(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bytes:
    """A csv file in UTF-8: commas, quotes only where needed, lines ended by a line feed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
