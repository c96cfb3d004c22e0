"""A tuned classifier as it is asked: the column it reads, what it cleans, and rows that it cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunewright.adapt.save import save_model
from tunewright.adapt.task.classify import Classify
from tunewright.answering import answer
from tunewright.answering.base import Answerer, open_answerer
from tunewright.answering.labels import LabelAnswerer
from tunewright.data.profile import Sample
from tunewright.errors import InputError
from tunewright.store.artifact import commit_artifact
from tunewright.types import Base, Label, tell_nobody


@pytest.fixture
def answerer(tiny_bert_folder: Path, tmp_path: Path) -> Iterator[Answerer]:
    """A classifier of two labels with an untrained head."""
    base = Base(
        name="tiny", folder=tiny_bert_folder, architecture="bert", kind="encoder", num_parameters=1, max_positions=128,
        vocabulary_size=1, licence="MIT", source="test", digest="d", reason="test",
    )  # fmt: skip
    task = Classify().with_labels(("bad", "好"), multi_label=False)
    card = {"max_length": 16, "thresholds": {}, "clean": ["html"]}
    commit_artifact(tmp_path / "model", "key", lambda draft: save_model(draft, task.attach(base, 1), task, base, card))
    made = open_answerer(tmp_path)
    yield made
    made.close()


def test_the_text_column_is_read_and_cleaned(answerer: Answerer) -> None:
    sample = Sample()
    sample.add({"id": 1, "text": "<b>很好</b>"})
    read = answerer.reader(("id", "text"), sample.profiles(), "FILE")
    rows = [read({"id": 1, "text": text}) for text in ("<b>很好</b>", " ", None)]
    assert [None if row is None else row.text for row in rows] == ["很好", None, None]
    with pytest.raises(InputError, match="text column"):
        answerer.reader(("a", "b"), (), "FILE")


def test_answers_are_those_of_the_server_and_empty_rows_stay_empty(answerer: Answerer) -> None:
    assert isinstance(answerer, LabelAnswerer)
    texts = ["a <b>good</b> film", "", "太难看"]
    found = answerer.answer([answerer.request(text) for text in texts], tell_nobody)
    assert found == answer(answerer._tuned, texts)
    assert [each["label"] is None for each in found] == [False, True, False]
    chosen = answerer.classify([each for text in texts if (each := answerer.request(text))], tell_nobody)
    assert isinstance(chosen, Label)
    assert [chosen.names[index] for index in chosen.chosen] == [found[0]["label"], found[2]["label"]]
    assert answerer.classify([], tell_nobody) is None
