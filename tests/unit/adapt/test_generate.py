"""Text from text: rows in the forms that people have, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.adapt.task.generate import Generate
from tunewright.adapt.writing import parse
from tunewright.data.profile import Sample
from tunewright.errors import InputError
from tunewright.evaluate.baseline.copy_source import CopySource
from tunewright.evaluate.baseline.lead import Lead, first_sentences
from tunewright.evaluate.opponents import choose_writers


def said(row: dict[str, Any], instruction: str = "") -> list[str]:
    read = Generate(Generate.Config(instruction=instruction)).read(row)
    return [str(each["content"]) for each in parse(read["messages"])]


def test_a_row_is_a_question_and_its_answer() -> None:
    assert said({"source": "Long.", "target": "Short."}) == ["Long.", "Short."]
    assert said({"source": "Long.", "target": "Short."}, "Summarise.") == ["Summarise.\n\nLong.", "Short."]
    assert said({"source": "a", "target": "b", "instruction": "Translate."}, "x") == ["Translate.\n\na", "b"]
    assert said({"source": ["One.", "Two."], "target": ["First.", "Second."]}) == ["One. Two.", "First."]
    assert said({"source": ["一。", "二。"], "target": "三"}) == ["一。二。", "三"]


@pytest.mark.parametrize(("row", "reason"), [
    ({"source": " ", "target": "x"}, "empty source"),
    ({"source": "x", "target": None}, "empty target"),
    ({"source": "x", "target": []}, "empty target"),
])  # fmt: skip
def test_an_empty_side_is_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Generate().read(row)


def recognised(*names: str) -> Any:
    return Generate().recognise(profiles(*names))


def profiles(*names: str, texts: int = 30) -> Any:
    sample = Sample()
    for number in range(texts):
        sample.add({name: f"{name} number {number} says so" for name in names})
    return sample.profiles()


def test_columns_that_go_together_are_recognised() -> None:
    assert recognised("id", "Document", "Summary").columns == {
        "source": "Document",
        "target": "Summary",
    }
    assert recognised("原文", "摘要", "instruction").columns == {
        "source": "原文", "target": "摘要", "instruction": "instruction",
    }  # fmt: skip
    assert recognised("text", "label") is None
    labels = Sample()
    for number in range(60):
        labels.add({"text": f"text {number}", "target": "good" if number % 2 else "bad"})
    assert Generate().recognise(labels.profiles()) is None


def test_what_is_to_be_answered_is_read_without_targets() -> None:
    task = Generate(Generate.Config(instruction="Summarise."))
    found = task.requests(profiles("src"), {})
    assert found is not None
    names, read = found
    assert names == {"source": "src"}
    assert read({"source": "Long."}) == task.asked("Long.") == [{"role": "user", "content": "Summarise.\n\nLong."}]
    assert task.requests(profiles("words"), {"source": "words", "target": "t"}) is not None
    assert task.requests(profiles("words"), {}) is None


def test_sentences_are_copied_as_they_stand() -> None:
    text = "It ran 3.5 km. Then it slept! 然后走了。后来呢？Yes"
    assert first_sentences(text, 1) == "It ran 3.5 km."
    assert first_sentences(text, 2) == "It ran 3.5 km. Then it slept!"
    assert first_sentences(text, 3) == "It ran 3.5 km. Then it slept! 然后走了。"
    assert first_sentences(text, 9) == text
    sources = ["One word here. Two words there. Three."] * 4
    lead = Lead()
    lead.fit(sources, ["one word here two words there"] * 4)
    assert lead.predict(sources[:1]) == ["One word here. Two words there."]
    one = Lead(Lead.Config(sentences=1))
    one.fit(sources, ["x"] * 4)
    assert one.predict(sources[:1]) == ["One word here."]
    assert CopySource().predict(["as is"]) == ["as is"]


def test_baselines_of_texts_are_chosen_by_their_kind() -> None:
    assert choose_writers("auto", Generate().baselines) == ("lead", "copy_source")
    assert choose_writers("auto", ("untouched_base", "few_shot", "ngram")) == ()
    assert choose_writers(["lead"], ()) == ("lead",)
    with pytest.raises(InputError, match="does not answer with text"):
        choose_writers(["majority"], ())


def test_a_rating_beside_a_title_is_what_is_to_be_learnt() -> None:
    assert recognised("title", "content").confidence == 0.9
    assert recognised("title", "content", "rating").confidence < 0.85
