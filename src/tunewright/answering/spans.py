"""A tuned model that answers with labelled spans: a request is one text, as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.adapt.save_tagger import TunedTagger, load_tagger
from tunewright.adapt.spans import join_words
from tunewright.answering.base import Evidence, Prediction, Request, text_column
from tunewright.answering.files import Records
from tunewright.data.profile import as_list, column_value, flatten
from tunewright.evaluate.config import Evaluate
from tunewright.infer.tagging import find_spans
from tunewright.store.run import RESULT, read_document
from tunewright.types import Classified, ColumnProfile, Row, Spans, Tell, tell_nobody

if TYPE_CHECKING:
    import pyarrow as pa


class SpanAnswerer:
    """A tuned tagger; offsets are of the characters of the text as it was given, so that nothing is cleaned."""

    added = ("spans",)

    def __init__(self, run: Path) -> None:
        """Load the model of the run in this folder."""
        self._run = run
        self._tuned = load_tagger(run / "model")
        self.task: Any = _task_of(self._tuned)

    def reader(
        self, columns: Sequence[str], profiles: Sequence[ColumnProfile], file: str
    ) -> Callable[[Row], Request | None]:
        """The text column that the model was tuned on, ``text``, or the only one; or a list of words in ``tokens``."""
        known = (read_document(self._run / RESULT) or {}).get("data", {}).get("columns", {})
        columns = [*dict.fromkeys([*columns, *(profile.name for profile in profiles)])]  # also those within objects
        tuned_on, words = (
            known.get("text"),
            next((name for name in (known.get("tokens"), "tokens", "words") if name in columns), None),
        )
        has_text = tuned_on in columns or "text" in columns
        column = words if words is not None and not has_text else text_column(tuned_on or "text", columns, file)

        def read(fields: Row) -> Request | None:
            value = column_value(flatten(fields), str(column))
            if column == words and (listed := as_list(value)) is not None:
                value = join_words([str(word) for word in listed if str(word).strip()])[0]
            return None if value is None else self.request(str(value))

        return read

    def request(self, text: str) -> Request | None:
        """The text as it is; None for one that is blank."""
        return _request(text) if text.strip() else None

    def prepared(self, rows: pa.Table) -> list[Request]:
        """The texts."""
        return [_request(text) for text in self.task.texts(rows)]

    def answer(self, requests: Sequence[Request | None], tell: Tell) -> list[Prediction]:
        """``spans``: start, end, label, text and score of each, in the order of the text."""
        usable = [index for index, each in enumerate(requests) if each is not None]
        predictions: list[Prediction] = [{"spans": None} for _ in requests]
        texts = [str(each.text) for each in requests if each is not None]
        for index, spans in zip(usable, label_spans(self._tuned, texts, tell), strict=True):
            predictions[index] = {"spans": Records(spans)}
        return predictions

    def classify(self, requests: Sequence[Request], tell: Tell) -> Classified | None:
        """It chooses no labels of whole texts."""
        return None

    def evidence(self, rows: pa.Table, config: Evaluate.Config, tell: Tell) -> Evidence:
        """The spans, which decide."""
        tuned = self._tuned
        found = find_spans(tuned.module, tuned.tokenizer, tuned.tags, self.task.texts(rows), tuned.max_length, tell)
        return Evidence(Spans(tuned.tags.labels, tuple(found)), None, np.zeros(0, np.int64))

    def close(self) -> None:
        """Nothing is under way."""


def label_spans(tuned: TunedTagger, texts: Sequence[str], tell: Tell = tell_nobody) -> list[list[dict[str, object]]]:
    """What a tuned tagger finds in texts: start, end, label, text and score of each span."""
    found = find_spans(tuned.module, tuned.tokenizer, tuned.tags, texts, tuned.max_length, tell, "answering")
    return [
        [
            {
                "start": span.start,
                "end": span.end,
                "label": span.label,
                "text": text[span.start : span.end],
                "score": round(span.score or 0.0, 6),
            }
            for span in spans
        ]
        for text, spans in zip(texts, found, strict=True)
    ]


def _request(text: str) -> Request:
    return Request(text, text, text)


def _task_of(tuned: TunedTagger) -> Any:
    from tunewright import extensions

    kind: Any = extensions.load("adapt.task", tuned.card["task"])
    return kind(kind.Config(**tuned.card["options"])).with_labels(tuned.card["labels"])
