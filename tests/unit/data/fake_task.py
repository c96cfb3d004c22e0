"""The smallest task that prepare can serve: texts with one label or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunewright.adapt.recognise import recognise_classification
from tunewright.types import ColumnProfile, Field, Recognition

FIELDS = (Field("text", "text", "What is read."), Field("label", "label", "What it is."))


class FakeTask:
    """Reads text and label as they are; a missing one rejects the row."""

    fields: Sequence[Field] = FIELDS
    metrics: Sequence[str] = ("accuracy",)
    baselines: Sequence[str] = ("majority",)

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        return recognise_classification(profiles)

    def read(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        text, label = fields.get("text"), fields.get("label")
        if text is None or not str(text).strip():
            raise ValueError("no text")
        labels = [str(one) for one in label] if isinstance(label, list) else [] if label in (None, "") else [str(label)]
        if not labels:
            raise ValueError("no label")
        return {"text": str(text), "label": labels}

    def identity(self, fields: Mapping[str, object]) -> str:
        return str(fields["text"])

    def stratum(self, fields: Mapping[str, object]) -> str:
        labels: Any = fields["label"]
        return "|".join(labels)

    def encode(self, rows: Any, tokenizer: Any, max_length: int) -> Iterator[tuple[list[int], list[float], int]]:
        raise NotImplementedError

    def attach(self, base: Any) -> Any:
        raise NotImplementedError

    def objective(self) -> Any:
        raise NotImplementedError

    def gold(self, rows: Any) -> Any:
        raise NotImplementedError

    def decode(self, logits: Any) -> Any:
        raise NotImplementedError
