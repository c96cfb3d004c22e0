"""A tuned language model as it is asked: what it reads of a row, in both languages, and what it makes of rows that it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.adapt.task.chat import Chat
from tunewright.answering.base import Answerer, open_answerer
from tunewright.answering.labels import LabelAnswerer
from tunewright.answering.text import TextAnswerer
from tunewright.data.profile import Sample
from tunewright.errors import InputError
from tunewright.store.artifact import commit_artifact
from tunewright.types import Base, tell_nobody

HTML = "<b>你好</b>"
Open = Callable[..., Answerer]


@pytest.fixture
def opened(tiny_llama_folder: Path, tmp_path: Path) -> Iterator[Open]:
    """An answerer for a run of an untrained model, with options of its task."""
    base = Base(
        name="tiny", folder=tiny_llama_folder, architecture="llama", kind="decoder", num_parameters=1, max_positions=128,
        vocabulary_size=1, licence="MIT", source="test", digest="d", reason="test",
    )  # fmt: skip
    made: list[Answerer] = []

    def open_(most: int = 5, columns: dict[str, str] | None = None, **options: Any) -> Answerer:
        run, task = tmp_path / "run", Chat(Chat.Config(**options))
        card = {"max_length": 64, "thresholds": {}, "clean": ["html"]}
        module = task.attach(base, 0)
        commit_artifact(run / "model", "key", lambda draft: task.save(draft, module, base, card))
        result = {"data": {"columns": columns or {}}, "config": {"values": {"evaluate": {"max_new_tokens": most}}}}
        (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
        made.append(open_answerer(run))
        return made[-1]

    yield open_
    for each in made:
        each.close()


def read(answerer: Answerer, *rows: dict[str, Any]) -> list[Any]:
    sample = Sample()
    for row in rows:
        sample.add(row)
    reader = answerer.reader(tuple(rows[0]), sample.profiles(), "FILE")
    return [None if (found := reader(row)) is None else found.asked for row in rows]


def test_one_function_opens_both_kinds(opened: Open, tmp_path: Path) -> None:
    assert isinstance(opened(), TextAnswerer)
    with pytest.raises(InputError, match="no tuned model"):
        open_answerer(tmp_path / "nowhere")
    assert LabelAnswerer.added == ("label", "confidence")


def test_rows_are_cleaned_and_opened_with_the_system_message(opened: Open) -> None:
    answerer = opened(system="请简短回答。")
    system, user = {"role": "system", "content": "请简短回答。"}, {"role": "user", "content": "你好"}
    assert read(answerer, {"messages": [{"role": "user", "content": HTML}]}) == [[system, user]]
    assert read(answerer, {"question": HTML}, {"question": ""}) == [[system, user], None]
    assert read(answerer, {"text": HTML, "id": 1}) == [[system, user]]
    assert read(answerer, {"whatever": HTML}) == [[system, user]]
    own = {"role": "system", "content": "Be kind."}
    assert read(answerer, {"text": HTML, "system": "Be kind."}) == [[own, user]]
    assert answerer.request("<p> </p>") is None


def test_columns_of_the_training_data_come_first(opened: Open) -> None:
    answerer = opened(columns={"prompt": "q", "completion": "a"})
    assert read(answerer, {"q": "first", "a": "ref", "question": "second"}) == [[{"role": "user", "content": "first"}]]
    with pytest.raises(InputError) as refused:
        read(answerer, {"x": "1", "y": "2"})
    assert "`text`" in refused.value.hint


def test_each_answer_is_what_it_would_be_alone_and_none_is_lost(opened: Open) -> None:
    answerer = opened(most=40)
    texts = ["你好", "x" * 80, "y" * 500, "", "Hi there", "z" * 96]
    requests = [answerer.request(text) for text in texts]
    together = answerer.answer(requests, tell_nobody)
    assert together == [answerer.answer([each], tell_nobody)[0] for each in requests]
    assert [each["answer"] is None for each in together] == [False, False, True, True, False, False]
    assert {each["finish"] for each in together} <= {"stop", "length", None}


def test_answers_are_drawn_as_the_run_was_judged(opened: Open) -> None:
    answerer: Any = opened(most=12)
    request = [answerer.request("你好")]
    likeliest = answerer.answer(request, tell_nobody)
    evaluate = answerer._result["config"]["values"]["evaluate"]
    evaluate |= {"temperature": 1.5, "seed": 3}
    drawn = answerer.answer(request, tell_nobody)
    assert drawn != likeliest
    assert drawn == answerer.answer(request, tell_nobody), "the same seed draws the same"
    evaluate["temperature"] = 0.0
    assert answerer.answer(request, tell_nobody) == likeliest


def test_a_prompt_is_made_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    answerer: Any = opened(most=3)
    template = answerer._conversation.template
    prompt, made = template.prompt, []

    def counted(messages: Any, tools: Any = None) -> list[int]:
        made.append(messages)
        ids: list[int] = prompt(messages, tools)
        return ids

    monkeypatch.setattr(template, "prompt", counted)
    answerer.answer([answerer.request(text) for text in ("yes", "好")], tell_nobody)
    assert len(made) == 2


def test_a_dialogue_that_the_template_refuses_is_not_answered(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    answerer: Any = opened()
    template = answerer._conversation.template
    prompt = template.prompt

    def strict(messages: Any, tools: Any = None) -> list[int]:
        if "no" in messages[-1]["content"]:
            raise InputError("the chat template does not render this dialogue")
        ids: list[int] = prompt(messages, tools)
        return ids

    monkeypatch.setattr(template, "prompt", strict)
    found = answerer.answer([answerer.request(text) for text in ("yes", "no", "也好")], tell_nobody)
    assert [each["answer"] is None for each in found] == [False, True, False]


def test_requests_of_prepared_rows_are_the_users_last_turns(opened: Open) -> None:
    import pyarrow as pa

    turns = [{"role": role, "content": said} for role, said in
             (("user", "早"), ("assistant", "早上好"), ("user", "再见"), ("assistant", "再见！"))]  # fmt: skip
    rows = pa.table({"messages": [json.dumps(turns), json.dumps(turns[:2]), json.dumps(turns[:3])]})
    found = opened().prepared(rows)
    assert [each.text for each in found] == ["再见", "早", "再见"]
    assert found[0].whole == found[2].whole == "早\n早上好\n再见"


def test_it_chooses_no_labels_and_brings_likelihood_and_text(opened: Open) -> None:
    import pyarrow as pa

    from tunewright.evaluate.config import Evaluate

    answerer = opened()
    turns = [{"role": "user", "content": "早"}, {"role": "assistant", "content": "早上好"}]
    long = [{"role": "user", "content": "长" * 60}, turns[1]]
    rows = pa.table({"messages": [json.dumps(each) for each in (turns, long, turns)]})
    assert answerer.classify(answerer.prepared(rows), tell_nobody) is None
    found: Any = answerer.evidence(rows, Evaluate.Config(max_new_tokens=3), tell_nobody)
    assert len(found.decisive) == 3
    assert found.decisive.nll[0] == pytest.approx(found.decisive.nll[2])
    assert found.decisive.num_tokens[0] == len("早上好".encode()) + 1
    assert found.rows.tolist() == [0, 1, 2]
    assert found.written.texts[1] == ""
    assert not found.written.stopped[1]
    assert found.written.texts[0] == found.written.texts[2]
    assert np.array_equal(found.written.num_tokens > 0, [True, False, True])


def test_half_a_character_is_no_request(opened: Open) -> None:
    answerer = opened()
    requests = [answerer.request("\ud83d"), answerer.request("好")]
    found = answerer.answer(requests, tell_nobody)
    assert [each["answer"] is None for each in found] == [True, False]
