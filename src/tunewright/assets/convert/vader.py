"""The graded snippets of the VADER study: ``id TAB mean rating TAB text`` lines become a csv ``text,label,rating``.

Source: C. J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text",
ICWSM 2014; each text rated from -4 to 4 by 20 people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunewright.assets.archive import extract
from tunewright.assets.convert.base import Material, render_csv
from tunewright.errors import CorruptError
from tunewright.store.artifact import Draft


class Vader:
    """``options``: ``member``, the name of the text file inside the inner archive."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write ``result``; the note says how many ratings are exactly 0, which counts as negative."""
        (inner,) = material.members.values()
        wanted = str(material.options["member"])
        scratch = extract(inner, (wanted,), lambda name: draft.path(f"inner-{name}"))[wanted]
        rows = list(read_rows(scratch.read_text(encoding="utf-8").splitlines(), wanted))
        scratch.unlink()
        draft.write_bytes(material.result, render_csv(("text", "label", "rating"), rows))
        num_zero = sum(float(rating) == 0 for _, _, rating in rows)
        return (f"{num_zero} of {len(rows):,} ratings are exactly 0 and count as negative",)


def read_rows(lines: Iterable[str], file: str) -> Iterator[tuple[str, str, str]]:
    """(text, label, rating) per line, the rating as it is written. Raises CorruptError with file:line."""
    for number, line in enumerate(lines, start=1):
        parts = line.split("\t", 2)
        try:
            rating = float(parts[1])
            if not -4 <= rating <= 4 or len(parts) != 3:
                raise ValueError
        except (IndexError, ValueError) as error:
            raise CorruptError(
                "not a rated text", where=f"{file}:{number}", given=line, allowed="id TAB rating from -4 to 4 TAB text"
            ) from error
        yield parts[2].strip(), "positive" if rating > 0 else "negative", parts[1]
