"""Lists of ``[text, label]`` under the names of their splits, in one JSON object; read as a stream.

    {"train": [["where is my parcel", "track"], ...], "val": [...], "oos_test": [["who won the match", "oos"], ...]}

So CLINC150 is published (Larson et al. 2019): rows out of scope stand under names of their own, which begin with ``oos_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunewright.data.source._arrays import ArraySource
from tunewright.data.source.base import SourceConfig, Unusable, first_text
from tunewright.data.splits import read_split
from tunewright.data.window import EndOfTextError, Window
from tunewright.types import SPLITS, Origin, Record

_START = re.compile(r'\{(\s*"[^"]*"\s*:\s*\[\s*\]\s*,)*\s*"[^"]*"\s*:\s*\[\s*\[')
_OUT_OF_SCOPE = "oos_"


class Pairs(ArraySource):
    """An object of lists of pairs; the columns are ``text``, ``label`` and ``split``."""

    allowed = (
        'lists of pairs under the names of splits: {"train": [["a text", "its label"], ...], "val": ..., "test": ...}'
    )
    hint = 'write one object per line (jsonl): {"text": "...", "label": "...", "split": "train"}'

    class Config(SourceConfig):
        """The options of files of pairs."""

    def recognise(self, path: Path, head: bytes) -> float:
        """0.98 for text that begins as an object of lists of lists."""
        return 0.98 if _START.match(first_text(head)) else 0.0

    def records(self, window: Window, file: str) -> Iterator[Record]:
        """The pairs of every list, each with the split that its list is named after."""
        if window.peek() != "{":
            raise self.broken(f"{file}:{window.line}", "no object of lists", window.look(80))
        number, mark = 0, "{"
        while mark != "}":
            window.skip(1)
            split = self._split(window, file)
            for record in self.array(window, file, number):
                number += 1
                is_usable = not isinstance(record, Unusable)
                yield replace(record, fields={**record.fields, "split": split}) if is_usable else record
            mark = window.peek()
            if mark not in ("}", ","):
                raise self.broken(f"{file}:{window.line}", "a comma is missing between two lists", window.look(80))
        window.skip(1)
        with suppress(EndOfTextError):
            window.peek()
            raise self.broken(f"{file}:{window.line}", "there is more after the object", window.look(80))

    def record(self, number: int, value: object, origin: Origin) -> Record:
        """A pair as a text and its label."""
        if not isinstance(value, list) or len(value) != 2:
            raise self.broken(str(origin), "this element is not a pair of a text and its label", str(value))
        return Record(number, dict(zip(("text", "label"), value, strict=True)), origin)

    def _split(self, window: Window, file: str) -> str:
        """The split that the next list is named after; the window then stands behind its ``[``."""
        window.peek()
        where = f"{file}:{window.line}"
        name = str(self.key(window, file))
        split = read_split(name.lower().removeprefix(_OUT_OF_SCOPE))
        if split is None:
            raise self.broken(where, "a list is not named after a split", name)
        if window.peek() != "[":
            raise self.broken(f"{file}:{window.line}", f"there is no list under {name}", window.look(80))
        window.skip(1)
        return SPLITS[split]
