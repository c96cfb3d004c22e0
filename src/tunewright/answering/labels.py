"""A tuned model that answers with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.adapt.save import Tuned, load_model
from tunewright.answering.base import Evidence, Prediction, Request, text_column
from tunewright.data.clean.base import Chain, build_chain
from tunewright.data.profile import column_value, flatten
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.threshold import apply_thresholds
from tunewright.infer.load import tokenize
from tunewright.infer.predict import predict_logits
from tunewright.store.run import RESULT, read_document
from tunewright.types import Classified, ColumnProfile, Labels, Row, Tell, tell_nobody

if TYPE_CHECKING:
    import pyarrow as pa


class LabelAnswerer:
    """A tuned classifier: a request is one text."""

    added = ("label", "confidence")

    def __init__(self, run: Path) -> None:
        """Load the model of the run in this folder."""
        self._run = run
        self._tuned = load_model(run / "model")
        self._chain = build_chain(self._tuned.card.get("clean", []))
        self.task: Any = self._tuned.task

    def reader(
        self, columns: Sequence[str], profiles: Sequence[ColumnProfile], file: str
    ) -> Callable[[Row], Request | None]:
        """The text column that the model was tuned on, ``text``, or the only one."""
        known = (read_document(self._run / RESULT) or {}).get("data", {}).get("columns", {})
        column = text_column(str(known.get("text", "text")), columns, file)

        def read(fields: Row) -> Request | None:
            value = column_value(flatten(fields), column)
            return None if value is None else self.request(str(value))

        return read

    def request(self, text: str) -> Request | None:
        """The text, cleaned."""
        cleaned = _clean(self._chain, text)
        return None if cleaned is None else _request(cleaned)

    def prepared(self, rows: pa.Table) -> list[Request]:
        """The texts."""
        return [_request(text) for text in self.task.texts(rows)]

    def answer(self, requests: Sequence[Request | None], tell: Tell) -> list[Prediction]:
        """``label``, ``confidence`` and the ``probabilities`` of all labels."""
        return _answer(self._tuned, [None if each is None else each.text for each in requests], tell)

    def classify(self, requests: Sequence[Request], tell: Tell) -> Classified | None:
        """The labels, with their probabilities."""
        return classify(self._tuned, [each.text for each in requests], tell) if requests else None

    def evidence(self, rows: pa.Table, config: Evaluate.Config, tell: Tell) -> Evidence:
        """The labels, which decide."""
        return Evidence(classify(self._tuned, self.task.texts(rows), tell), None, np.zeros(0, np.int64))

    def close(self) -> None:
        """Nothing is under way."""


def answer(tuned: Tuned, texts: Sequence[str | None], tell: Tell = tell_nobody) -> list[Prediction]:
    """``label``, ``confidence`` and the ``probabilities`` of all labels, for each text; None for one without content."""
    chain = build_chain(tuned.card.get("clean", []))
    return _answer(tuned, [None if text is None else _clean(chain, text) for text in texts], tell)


def classify(tuned: Tuned, texts: Sequence[str], tell: Tell = tell_nobody) -> Classified:
    """What a tuned model says about clean texts with content, as it is served: in fp32, with its own thresholds."""
    ids = tokenize(tuned.tokenizer, texts, tuned.max_length)
    logits = predict_logits(tuned.module, ids, tell=tell, label="answering")
    return apply_thresholds(tuned.task.decode(logits), tuned.thresholds)


def _request(text: str) -> Request:
    return Request(text, text, text)


def _clean(chain: Chain, text: str) -> str | None:
    """The text as prepare would have cleaned it before training; None where nothing is left, or where it would be rejected."""
    try:
        cleaned = chain.apply(text)
    except ValueError:
        return None
    return cleaned if cleaned.strip() else None


def _answer(tuned: Tuned, texts: Sequence[str | None], tell: Tell) -> list[Prediction]:
    usable = [index for index, text in enumerate(texts) if text is not None]
    predictions: list[Prediction] = [{"label": None, "confidence": None, "probabilities": None} for _ in texts]
    if usable:
        classified = classify(tuned, [str(texts[index]) for index in usable], tell)
        for index, prediction in zip(usable, _predictions(classified), strict=True):
            predictions[index] = prediction
    return predictions


def _predictions(answer: Classified) -> Iterator[Prediction]:
    assert answer.probabilities is not None
    if isinstance(answer, Labels):
        for chosen, probabilities in zip(answer.chosen, answer.probabilities, strict=True):
            labels = [name for name, is_chosen in zip(answer.names, chosen, strict=True) if is_chosen]
            certain = np.where(chosen, probabilities, 1.0 - probabilities).min()
            yield {"label": labels, "confidence": _rounded(certain), "probabilities": _named(answer, probabilities)}
    else:
        for index, probabilities in zip(answer.chosen, answer.probabilities, strict=True):
            confidence, named = _rounded(probabilities[index]), _named(answer, probabilities)
            yield {"label": answer.names[index], "confidence": confidence, "probabilities": named}


def _named(answer: Classified, probabilities: Iterable[float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in zip(answer.names, probabilities, strict=True)}


def _rounded(value: float) -> float:
    return round(float(value), 6)
