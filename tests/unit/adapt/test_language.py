"""Plain texts: all of them learnt once, whatever their length; read as they stand; recognised where they stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tunewright.adapt.documents import DocumentEncoder
from tunewright.adapt.task.language import JUDGED_CHARACTERS, Language
from tunewright.data.profile import Sample
from tunewright.infer.continuation import Continuation
from tunewright.infer.load import load_tokenizer

TEXT = "the film was good and 这部电影很好看 the actors were great </s> and it was long"


@pytest.fixture(scope="module")
def tokenizer(tiny_llama_folder: Path) -> Any:
    return load_tokenizer(tiny_llama_folder)


def encoder(tokenizer: Any) -> DocumentEncoder:
    return DocumentEncoder(lambda rows: rows["text"].to_pylist(), Continuation(tokenizer), tokenizer)


@pytest.mark.parametrize("max_length", [4, 5, 7, 16, 1000])
def test_every_token_is_learnt_once_behind_the_one_before_it(tokenizer: Any, max_length: int) -> None:
    made = encoder(tokenizer)
    [whole] = made.encode(pa.table({"text": [TEXT]}))
    parts = made.divide(whole, max_length) if len(whole.ids) > max_length else [whole]
    learnt = [
        (part.ids[at - 1], token)
        for part in parts
        for at, (token, weight) in enumerate(zip(part.ids, part.target, strict=True))
        if weight
    ]
    assert learnt == list(zip(whole.ids, whole.ids[1:], strict=False))
    assert all(len(part.ids) <= max_length for part in parts)


def test_a_text_is_closed_and_what_it_spells_is_text(tokenizer: Any) -> None:
    template = Continuation(tokenizer)
    messages = [{"content": TEXT[:20]}, {"content": TEXT[20:]}]
    chat = template.encode(messages)
    assert chat.ids[-1] == tokenizer.eos_token_id
    assert chat.ids.count(tokenizer.eos_token_id) == 1
    assert template.stop_ids == (tokenizer.eos_token_id,)
    assert chat.ids[: len(template.prompt([{"content": TEXT}]))] == template.prompt([{"content": TEXT}])
    turns = [turn for turn in chat.turn if turn >= 0]
    assert turns == sorted(turns)
    assert set(turns) == {0, 1}
    assert chat.supervised == [turn >= 0 for turn in chat.turn]


def profiles(*rows: dict[str, Any]) -> Any:
    sample = Sample()
    for row in rows:
        sample.add(row)
    return sample.profiles()


def test_texts_are_recognised_where_they_stand_alone() -> None:
    found = Language().recognise(profiles({"text": "one two three four"}, {"text": "a b c d e"}))
    assert found is not None
    assert found.columns == {"text": "text"}
    assert Language().recognise(profiles({"words": "one two three four"})) is not None
    assert Language().recognise(profiles({"text": "one two three four", "label": "a"})) is None
    assert Language().recognise(profiles({"text": "yes"}, {"text": "no"})) is None
    assert Language().recognise([]) is None


def test_what_is_judged_is_the_whole_beginning_in_two_parts() -> None:
    task = Language()
    rows = pa.table({"text": [TEXT, "one", "很好", "x" * 5000]})
    for text, (first, second) in zip(rows["text"].to_pylist(), task.dialogues(rows), strict=True):
        assert first["content"] + second["content"] == text[:JUDGED_CHARACTERS]
        assert second["content"]
    assert task.learnt(task.dialogues(rows)[0]) == {0, 1}
    with pytest.raises(ValueError, match="empty text"):
        task.read({"text": "  "})
