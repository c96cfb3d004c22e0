"""Texts with spans in the forms that people have: recognised, read, refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.adapt.spans import join_words, read_spans, recognise_spans
from tunewright.adapt.task.tag import Tag
from tunewright.data.profile import Sample
from tunewright.infer.words import Unit, find_units, find_words
from tunewright.types import Span

ADA = [Span(0, 12, "person")]
TEXT = "Ada Lovelace slept"


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": 0, "end": 12, "label": "person"}],
        [{"start": 0, "end": 12, "label": "person", "text": "Ada Lovelace"}],
        [{"start_offset": 0, "end_offset": 12, "type": "person"}],
        [[0, 12, "person"]],
        [(0, 13, " person")],
        '[{"start": 0, "end": 12.0, "label": "person"}]',
        [{"start": 0, "end": 12, "text": "Ada Lovelace", "labels": ["person"]}],
        [{"result": [{"type": "labels", "value": {"start": 0, "end": 12, "labels": ["person"]}}, {"type": "choices"}]}],
        [{"was_cancelled": True, "result": []}, {"result": [{"value": {"start": 0, "end": 12, "labels": ["person"]}}]}],
    ],
)
def test_spans_are_read_in_every_form(spans: Any) -> None:
    assert read_spans("spans", {"text": TEXT, "spans": spans}) == (TEXT, ADA)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        (None, "no list"),
        ("{}", "no list"),
        ("[", "not a JSON list"),
        ([[0, 40, "person"]], "0 to 40 in a text of 18 characters"),
        ([[3, 3, "person"]], "3 to 3"),
        ([[True, 3, "person"]], "True to 3"),
        ([[0, 3, ""]], "without one label"),
        ([[0, 3]], "not an object"),
        ([[3, 4, "person"]], "is blank"),
        ([[0, 5, "person"], [4, 12, "name"]], "overlap: 0 to 5 and 4 to 12"),
        ([{"start": 1, "end": 4, "label": "person", "text": "Ada"}], "should be 'Ada', the text has 'da ' there"),
        ([{"start": 0, "end": 3, "labels": ["a", "b"]}], "without one label"),
        ([{"was_cancelled": True, "result": []}], "every annotation was cancelled"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(spans: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_spans("spans", {"text": TEXT, "spans": spans})


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["B-x", "I-x", "O"], [(0, 12)]),
        (["I-x", "I-x", "O"], [(0, 12)]),
        (["B-x", "B-x", "O"], [(0, 3), (4, 12)]),
        (["B-x", "E-x", "S-x"], [(0, 12), (13, 18)]),
        (["B_x", "L_x", "U_x"], [(0, 12), (13, 18)]),
        (["S-x", "I-x", "O"], [(0, 3), (4, 12)]),
        (["O", "O", "O"], []),
        (["x", "x", "O"], [(0, 3), (4, 12)]),
    ],
)
def test_tags_of_every_scheme_are_spans(tags: list[str], spans: list[tuple[int, int]]) -> None:
    text, found = read_spans("tokens", {"tokens": TEXT.split(), "tags": tags})
    assert text == TEXT
    assert [(one.start, one.end) for one in found] == spans
    assert {one.label for one in found} <= {"x"}


@pytest.mark.parametrize(
    ("tokens", "tags", "reason"),
    [
        ([], [], "no tokens"),
        (["a"], ["O", "O"], "1 words, but 2 tags"),
        (["a", " "], ["O", "O"], "an empty one"),
        (["a", "b"], [0, 1], "the tags are numbers"),
        (None, ["O"], "no list"),
    ],
)
def test_words_and_tags_that_cannot_be_used_say_why(tokens: Any, tags: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_spans("tokens", {"tokens": tokens, "tags": tags})


def test_words_are_joined_as_their_script_is_written() -> None:
    assert join_words(["I", "'m", "in", "北", "京", "，", "2004", "年"])[0] == "I 'm in 北京，2004 年"
    text, places = join_words(["小", "明", "去", "London"])
    assert [text[start:end] for start, end in places] == ["小", "明", "去", "London"]


def test_words_are_runs_of_letters_marks_and_single_characters() -> None:
    text = "U.S. 2024年，don't! Ωmega 😀"
    assert [text[start:end] for start, end in find_words(text)] == [
        "U", ".", "S", ".", "2024", "年", "，", "don", "'", "t", "!", "Ωmega", "😀",
    ]  # fmt: skip


def test_marks_that_combine_belong_to_their_word() -> None:
    for word in ("दिल्ली", "cafe\u0301s", "مُحَمَّد"):
        assert [word[start:end] for start, end in find_words(word)] == [word]
    assert find_words("\u0301x") == [(0, 1), (1, 2)]


def test_words_that_share_a_token_are_one_and_those_without_are_left_out() -> None:
    text = "中国人 is\u200b x"
    offsets = [(0, 2), (2, 3), (3, 6), (7, 9)]
    assert find_units(text, offsets) == [Unit(0, 2, 0), Unit(2, 3, 1), Unit(4, 6, 2), Unit(8, 9, 3)]
    assert find_units("好", [(0, 1), (0, 1), (0, 1)]) == [Unit(0, 1, 0)]
    assert find_units("", []) == []


def recognised(rows: list[dict[str, Any]]) -> Any:
    sample = Sample()
    for row in rows:
        sample.add(row)
    return recognise_spans(sample.profiles())


def test_columns_are_recognised() -> None:
    words = {"id": 1, "tokens": ["a", "b"], "ner_tags": ["O", "B-x"]}
    assert recognised([words]).columns == {"tokens": "tokens", "tags": "ner_tags"}
    spans = {"text": "Ada slept", "entities": [{"start": 0, "end": 3, "label": "x"}]}
    assert recognised([{**spans, "entities": []}, spans]).columns == {"spans": "entities", "text": "text"}
    assert recognised([{"text": "Ada slept", "label": [[0, 3, "x"]]}]).columns == {"spans": "label", "text": "text"}
    studio = {
        "data": {"text": "Ada slept"},
        "annotations": [{"result": [{"value": {"start": 0, "end": 3, "labels": ["x"]}}]}],
    }
    assert recognised([studio]).columns == {"spans": "annotations", "text": "data.text"}
    assert recognised([{"text": "Ada", "label": ["a", "b"]}]) is None
    assert recognised([{"text": "Ada", "label": "a"}]) is None


def test_cells_as_python_writes_them_are_read() -> None:
    row = {"tokens": "['Ada', 'slept']", "tags": "['B-x', 'O']"}
    assert read_spans("tokens", row) == ("Ada slept", [Span(0, 3, "x")])


def test_a_form_is_chosen_by_its_columns() -> None:
    assert Tag().tuned_to([], {"tags": "pos_tags"})[0].form == "tokens"
    assert Tag().tuned_to([], {"tokens": "words", "tags": "pos"})[0].form == "tokens"
    assert Tag().tuned_to([], {"spans": "entities", "text": "t"})[0].form == "spans"
