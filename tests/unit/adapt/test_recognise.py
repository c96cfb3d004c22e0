"""Recognition: names decide, shapes help, and what could be meant twice is not decided."""

from __future__ import annotations

import random

import pytest

from tunewright.adapt.recognise import SURE, looks_multilabel, recognise_classification
from tunewright.data.profile import profile_column
from tunewright.types import ColumnProfile, Recognition

RNG = random.Random(0)
TEXT = [f"this is sentence number {n} about {RNG.choice(['films', 'books', 'hotels'])}" for n in range(200)]
CHINESE = [f"第{n}条评论说这部电影很好看" for n in range(200)]
SHAPES: dict[str, list[object]] = {
    "text": list(TEXT),
    "chinese": list(CHINESE),
    "label": [RNG.choice(["pos", "neg"]) for _ in TEXT],
    "topic": [RNG.choice(["sport", "news", "art"]) for _ in TEXT],
    "binary": [RNG.choice([0, 1]) for _ in TEXT],
    "stars": [RNG.randint(1, 5) for _ in TEXT],
    "id": list(range(1, 201)),
    "code": [f"B00{RNG.randint(10**6, 10**7)}" for _ in TEXT],
    "date": [f"2024-01-{RNG.randint(1, 28):02d}" for _ in TEXT],
    "score": [f"{RNG.random():.4f}" for _ in TEXT],
    "url": [f"https://example.org/{n}" for n in range(200)],
    "constant": ["en"] * 200,
    "lists": [RNG.choice([["a"], ["a", "b"], ["c"]]) for _ in TEXT],
    "empty": [None] * 200,
    "title": [f"Film {n}" for n in range(200)],
}


def recognise(**columns: str) -> Recognition | None:
    """What is recognised in columns of these names and shapes."""
    profiles: list[ColumnProfile] = [
        profile_column(name, at, SHAPES[shape]) for at, (name, shape) in enumerate(columns.items())
    ]
    return recognise_classification(profiles)


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"text": "text", "label": "label"}, "text", "label"),
        ({"label": "binary", "text": "text"}, "text", "label"),
        ({"评论内容": "chinese", "情感倾向": "label"}, "评论内容", "情感倾向"),
        ({"column_1": "chinese", "column_2": "binary"}, "column_1", "column_2"),
        ({"column_1": "label", "column_2": "text"}, "column_2", "column_1"),
        ({"column_1": "id", "column_2": "date", "column_3": "text", "column_4": "topic"}, "column_3", "column_4"),
        ({"column_1": "code", "column_2": "text", "column_3": "score", "column_4": "binary"}, "column_2", "column_4"),
        ({"id": "code", "title": "title", "review": "text", "rating": "stars", "label": "label"}, "review", "label"),
        ({"review": "text", "stars": "stars"}, "review", "stars"),
        ({"text": "text", "author": "topic", "lang": "constant", "sentiment": "label"}, "text", "sentiment"),
        ({"utterance": "text", "labels": "lists", "url": "url"}, "utterance", "labels"),
        ({"data.text": "text", "data.label": "label", "meta.id": "id"}, "data.text", "data.label"),
        ({"Review Text": "text", "Sentiment-Label": "label"}, "Review Text", "Sentiment-Label"),
    ],
)
def test_what_is_clear_is_recognised_with_reasons(columns: dict[str, str], text: str, label: str) -> None:
    found = recognise(**columns)
    assert found is not None
    assert (found.columns["text"], found.columns["label"]) == (text, label)
    assert found.confidence >= SURE
    assert all(found.reasons[field] for field in ("text", "label"))


@pytest.mark.parametrize(
    "columns",
    [
        {"column_1": "text", "column_2": "label", "column_3": "topic"},
        {"text": "text", "sentiment": "label", "category": "topic"},
        {"column_1": "text", "column_2": "chinese", "column_3": "label"},
        {"sentence1": "text", "sentence2": "chinese", "label": "binary"},
        {"premise": "text", "hypothesis": "chinese", "label": "topic"},
        {"text": "text", "label": "url", "kind": "label"},
        {"text": "text", "label": "code"},
        {"text": "text", "label": "title"},
        {"review": "text", "comment": "chinese", "label": "label"},
        {"text": "text", "author": "topic"},
        {"column_1": "text", "column_2": "constant"},
    ],
)
def test_what_is_not_clear_is_asked(columns: dict[str, str]) -> None:
    found = recognise(**columns)
    assert found is None or found.confidence < SURE, found


@pytest.mark.parametrize(
    "columns",
    [
        {"text": "text"},
        {"label": "label"},
        {"a": "id", "b": "score"},
        {"text": "text", "label": "empty"},
        {"text": "text", "n": "score"},
        {},
    ],
)
def test_what_is_no_classification_is_nothing(columns: dict[str, str]) -> None:
    assert recognise(**columns) is None


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a|b", "a", "b|c", "c"], "|"),
        (["体育；新闻", "新闻", "体育", "艺术；体育"], "；"),
        (["news/world", "sport", "art"], None),
        (["news, world", "sport", "art"], None),
        (["pos", "neg"], None),
        (["Smith, Ann", "Brook, Ben", "Cole, Dora"], None),
        ([["a"], ["b", "c"]], "list"),
        (['["a", "b"]', '["c"]'], "list"),
    ],
)
def test_several_labels_to_a_cell(cells: list[object], separator: str | None) -> None:
    assert looks_multilabel(profile_column("label", 0, cells * 20)) == separator
