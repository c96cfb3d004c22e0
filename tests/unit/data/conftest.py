"""What the tests of data share: the smallest task that prepare can serve, and small files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tunewright.adapt.recognise import recognise_classification
from tunewright.types import ColumnProfile, Field, Recognition

_WORDS = ("good", "bad", "plain", "superb", "awful", "很好", "很差", "一般", "满意", "失望")

FIELDS = (Field("text", "text", "What is read."), Field("label", "label", "What it is."))


class FakeTask:
    """Reads text and label as they are; a missing one rejects the row."""

    fields: Sequence[Field] = FIELDS
    stored: Sequence[Field] = FIELDS
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

    def unit(self, fields: Mapping[str, object]) -> str | None:
        return None


@pytest.fixture
def task() -> FakeTask:
    return FakeTask()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    """Writes a file of the test and gives its name, as a user would type it."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file


@pytest.fixture
def reviews() -> list[tuple[str, str]]:
    """A hundred different texts in two languages, half of them ``pos``."""
    things = ("film", "hotel", "book", "phone", "meal", "电影", "酒店", "手机", "晚餐", "书")
    return [
        (f"{thing} {word} number {n}", "pos" if n % 2 else "neg")
        for n, (thing, word) in enumerate(product(things, _WORDS))
    ]
