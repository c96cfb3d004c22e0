"""What is asked of a run's tuned model, whatever the kind of its answers: labels, spans or text.

What kind they are is asked in one place, ``open_answerer``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunewright.errors import InputError, nearest
from tunewright.evaluate.config import Evaluate
from tunewright.infer.card import answers_with, require_card
from tunewright.types import Answer, Classified, ColumnProfile, Ints, Row, Tell, Text

if TYPE_CHECKING:
    import pyarrow as pa

Prediction = dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for once: as the model reads it, what was said last, and all that was said, which makes it distinct."""

    asked: Any
    text: str
    whole: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a model brings before rows whose right answers are known.

    ``decisive`` is compared on all of the rows. A model that writes text has ``written`` answers to some ``rows``, too.
    """

    decisive: Answer
    written: Text | None
    rows: Ints


class Answerer(Protocol):
    """A run's tuned model, with its task and the cleaners of its data."""

    @property
    def task(self) -> Any:
        """The task as the model was tuned to it."""
        ...

    @property
    def added(self) -> tuple[str, ...]:
        """The keys of a prediction that become columns of a file, the answer itself first."""
        ...

    def reader(
        self, columns: Sequence[str], profiles: Sequence[ColumnProfile], file: str
    ) -> Callable[[Row], Request | None]:
        """What reads the request in a row of a file, None where it is unusable.

        Raises InputError for a file without the columns to read it from.
        """
        ...

    def request(self, text: str) -> Request | None:
        """A text that somebody typed; None where nothing is left of it once it is cleaned."""
        ...

    def prepared(self, rows: pa.Table) -> list[Request]:
        """The requests in rows that prepare has written."""
        ...

    def answer(self, requests: Sequence[Request | None], tell: Tell) -> list[Prediction]:
        """A prediction for each request; its values are None where there is no request, or the model cannot read it."""
        ...

    def classify(self, requests: Sequence[Request], tell: Tell) -> Classified | None:
        """The labels that the model chooses; None where it chooses none."""
        ...

    def evidence(self, rows: pa.Table, config: Evaluate.Config, tell: Tell) -> Evidence:
        """What the model makes of prepared rows, for a comparison with another model."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


def open_answerer(run: Path) -> Answerer:
    """The tuned model of the run in this folder, by the kind of its answers. Raises InputError where there is none."""
    card = require_card(run / "model")
    kind = answers_with(card)
    if kind == "text":
        from tunewright.answering.text import TextAnswerer

        return TextAnswerer(run, card)
    if kind == "spans":
        from tunewright.answering.spans import SpanAnswerer

        return SpanAnswerer(run)
    from tunewright.answering.labels import LabelAnswerer

    return LabelAnswerer(run)


def text_column(wanted: str, columns: Sequence[str], file: str, otherwise: str = "") -> str:
    """The column of this name, or ``text``, or the only column there is; ``otherwise`` names what else could be read.

    Raises InputError.
    """
    for candidate in (wanted, "text"):
        if candidate in columns:
            return candidate
    if len(columns) == 1:
        return columns[0]
    close = nearest(wanted, columns)
    raise InputError(
        "the text column is not in this file",
        where=f"{file}:1",
        given=", ".join(columns),
        allowed=otherwise or f"a column `{wanted}`, as in the data that the model was tuned on",
        hint=f"rename the column `{close}` to `{wanted}`" if close else f"name the column of texts `{wanted}`",
    )
