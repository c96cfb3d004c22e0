"""Dialogues: every form that people have, every row that cannot be learnt from, and what of a dialogue is supervised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tunewright.adapt.dialogue import (
    FORMS,
    read_dialogue,
    read_request,
    recognise_dialogues,
    recognise_requests,
    split_last,
    to_answer,
)
from tunewright.adapt.dialogue_encoder import DialogueEncoder
from tunewright.adapt.task.chat import Chat
from tunewright.data.profile import Sample
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate

HELLO = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello."}]


def profiles(rows: list[dict[str, Any]]) -> Any:
    sample = Sample()
    for row in rows:
        sample.add(row)
    return sample.profiles()


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"messages": HELLO}, {"messages": "messages"}),
        ({"id": "1", "dialog": HELLO}, {"messages": "dialog"}),
        ({"anything": json.dumps(HELLO)}, {"messages": "anything"}),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
         {"messages": "conversations"}),
        ({"instruction": "Name three colours {}", "input": "", "output": "Red, green and {}."},
         {"instruction": "instruction", "output": "output"}),
        ({"instruction": "Translate {}", "input": "好 {}", "output": "It is good, number {}."},
         {"instruction": "instruction", "output": "output", "input": "input"}),
        ({"prompt": "What is {}?", "completion": "It is the number {}."}, {"prompt": "prompt", "completion": "completion"}),
        ({"问题": "第{}个是什么？", "回答": "这是第{}个问题的回答，说来话长。"}, {"prompt": "问题", "completion": "回答"}),
        ({"system": "Be kind.", "messages": HELLO}, {"messages": "messages", "system": "system"}),
    ],
    ids=["openai", "another name", "json in a cell", "sharegpt", "alpaca", "alpaca with input", "prompt", "chinese", "system"],
)  # fmt: skip
def test_each_form_is_recognised(row: dict[str, Any], columns: dict[str, str]) -> None:
    rows: list[dict[str, Any]] = [
        {name: value.replace("{}", str(number)) if isinstance(value, str) else value for name, value in row.items()}
        for number in range(60)
    ]
    found = recognise_dialogues(profiles(rows))
    assert found is not None
    assert dict(found.columns) == columns
    assert found.confidence >= 0.7
    task, _ = Chat().tuned_to((), found.columns)
    assert {field.name for field in task.fields if field.required} <= set(columns)


@pytest.mark.parametrize("names", [("text", "label"), ("prompt", "answer")])
def test_texts_with_labels_are_no_dialogues(names: tuple[str, str]) -> None:
    rows = [{names[0]: f"a film {number}", names[1]: ("good", "bad")[number % 2]} for number in range(60)]
    assert recognise_dialogues(profiles(rows)) is None


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_into_the_same(form: str) -> None:
    forms: dict[str, Any] = {
        "messages": {"messages": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
        "instruction": {"instruction": "Hi", "input": "", "output": "Hello."},
        "prompt": {"prompt": "Hi", "completion": "Hello."},
    }
    given = forms[form]
    wanted = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert read_dialogue(form, given, "") == wanted
    opened = [{"role": "system", "content": "Be kind."}, *wanted]
    assert read_dialogue(form, given, "Be kind.") == opened
    assert read_dialogue(form, {**given, "system": "Be kind."}, "Be short.") == opened


def test_an_input_follows_its_instruction_and_parts_are_joined() -> None:
    row = {"instruction": "翻译", "input": "好", "output": "good"}
    assert read_dialogue("instruction", row, "")[0]["content"] == "翻译\n\n好"
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    assert read_dialogue("messages", {"messages": [{"role": "user", "content": parts}, HELLO[1]]}, "") == HELLO


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "no turns"),
        ([], "no turns"),
        ("[{", "not a JSON list"),
        ("plain text", "not a JSON list"),
        (["Hi", "Hello."], "not an object"),
        ([{"role": "narrator", "content": "x"}], "narrator"),
        ([HELLO[0]], "no turn of the assistant"),
        ([HELLO[1]], "first turn is not the user's"),
        ([HELLO[0], HELLO[0], HELLO[1]], "same speaker"),
        ([HELLO[0], {"role": "assistant", "content": "  "}], "empty turn of the assistant"),
        ([HELLO[0], {"role": "assistant", "content": None, "tool_calls": [{}]}], "only calls tools"),
        ([HELLO[0], {"role": "assistant", "content": [{"type": "image_url"}]}], "not text"),
        ([*HELLO, {"role": "system", "content": "x"}], "not the first"),
        ([HELLO[0], {**HELLO[1], "weight": 0}], "weight 0"),
    ],
)
def test_a_dialogue_that_cannot_be_learnt_is_rejected_with_its_reason(messages: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_dialogue("messages", {"messages": messages}, "")


ASK = {"role": "user", "content": "再见"}


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        ([HELLO[0]], [HELLO[0]]),
        (HELLO, [HELLO[0]]),
        ([*HELLO, ASK], [*HELLO, ASK]),
        ([*HELLO, ASK, HELLO[1]], [*HELLO, ASK]),
        ([HELLO[0], {"role": "assistant", "content": ""}], [HELLO[0]]),
        ([HELLO[0], {"role": "assistant", "content": None, "tool_calls": [{}]}], [HELLO[0]]),
        ([{"from": "human", "value": "你好"}, {"from": "gpt", "value": "Hello."}], [HELLO[0]]),
        (json.dumps(HELLO), [HELLO[0]]),
    ],
)
def test_a_request_ends_with_the_users_turn_and_a_reference_is_left_out(turns: Any, wanted: Any) -> None:
    assert read_request("messages", {"messages": turns}, "") == wanted
    opened = [{"role": "system", "content": "Be kind."}, *wanted]
    assert read_request("messages", {"messages": turns}, "Be kind.") == opened
    assert read_request("messages", {"messages": turns, "system": "Be kind."}, "Be short.") == opened


def test_a_read_dialogue_is_cut_as_a_request_is_read() -> None:
    for turns in (HELLO, [*HELLO, ASK], [*HELLO, ASK, HELLO[1]]):
        assert to_answer(read_dialogue("messages", {"messages": turns}, "")) == read_request(
            "messages", {"messages": turns}, ""
        )


def test_instructions_and_prompts_need_no_answer() -> None:
    assert read_request("prompt", {"prompt": "你好"}, "") == [HELLO[0]]
    assert read_request("instruction", {"instruction": "翻译", "input": "好"}, "")[0]["content"] == "翻译\n\n好"


@pytest.mark.parametrize(
    ("form", "fields", "reason"),
    [
        ("messages", {"messages": [HELLO[1]]}, "first turn is not the user's"),
        ("messages", {"messages": [HELLO[0], HELLO[1], HELLO[1]]}, "no turn of the user to answer"),
        ("messages", {"messages": [HELLO[0], HELLO[0]]}, "same speaker"),
        ("messages", {"messages": [{"role": "system", "content": "x"}]}, "first turn is not the user's"),
        ("messages", {"messages": "plain text"}, "not a JSON list"),
        ("messages", {"messages": None}, "no turns"),
        ("messages", {"messages": [1]}, "not an object"),
        ("prompt", {"prompt": "  "}, "empty prompt"),
        ("instruction", {}, "empty instruction"),
    ],
)
def test_a_row_that_asks_nothing_says_why(form: str, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_request(form, fields, "Be kind.")


@pytest.mark.parametrize(
    ("row", "known", "wanted"),
    [
        ({"question": "你好"}, {}, ("prompt", {"prompt": "question"})),
        ({"问题": "你好", "回答": "好"}, {}, ("prompt", {"prompt": "问题"})),
        ({"prompt": "x", "system": "y"}, {}, ("prompt", {"prompt": "prompt", "system": "system"})),
        ({"指令": "x", "输入": "y", "输出": "z"}, {}, ("instruction", {"instruction": "指令", "input": "输入"})),
        ({"log": HELLO}, {}, ("messages", {"messages": "log"})),
        ({"talk": "x", "log": HELLO}, {"messages": "talk"}, ("messages", {"messages": "talk"})),
        ({"q": "x", "a": "y"}, {"prompt": "q", "completion": "a"}, ("prompt", {"prompt": "q"})),
        ({"messages": HELLO}, {"prompt": "q", "completion": "a"}, ("messages", {"messages": "messages"})),
        ({"text": "x"}, {"messages": "messages"}, None),
    ],
)
def test_the_columns_of_requests_are_found(row: dict[str, Any], known: dict[str, str], wanted: Any) -> None:
    assert recognise_requests(profiles([row]), known) == wanted


def test_dialogues_that_open_alike_stay_together_and_the_same_said_is_a_duplicate() -> None:
    task = Chat()
    first, second = (
        task.read({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
        for asked, answer in (("What is  AI?", "A field."), ("what is ai?", "A science."))
    )
    assert task.unit(first) == task.unit(second)
    assert task.identity(first) != task.identity(second)
    assert task.read(first) == first
    assert split_last([*HELLO, HELLO[0]]) == ([HELLO[0]], "Hello.")


@pytest.fixture
def encode(tiny_llama_folder: Path) -> Callable[..., tuple[DialogueEncoder, list[Any]]]:
    """Encode dialogues by a small template that closes its turns, and look at them."""
    tokenizer = load_tokenizer(tiny_llama_folder)
    eos = tokenizer.eos_token
    source = (
        "{% for message in messages %}{{ message.role }}: {{ message.content }}"
        + ("{{ '" + eos + "' }}" if eos else "")
        + "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    template = ChatTemplate(source, "made by this test", tokenizer)

    def run(dialogues: list[Any], max_length: int | None = None, **options: Any) -> tuple[DialogueEncoder, list[Any]]:
        task = Chat(Chat.Config(**options))
        encoder = DialogueEncoder(lambda rows: dialogues, template, tokenizer, task.learnt)
        size = len(dialogues)
        rows = pa.table({"file": ["chats.jsonl"] * size, "line": list(range(1, size + 1))})
        whole = encoder.encode(rows)
        cut = [max_length is not None and len(each.ids) > max_length for each in whole]
        examples = [
            encoder.cut(each, max_length or 0) if too_long else each for each, too_long in zip(whole, cut, strict=True)
        ]
        encoder.inspect(examples, cut)
        return encoder, examples

    return run


MULTI = [*HELLO, {"role": "user", "content": "再见"}, {"role": "assistant", "content": "Bye now."}]


def test_answers_and_their_ends_are_supervised_and_nothing_else(
    encode: Callable[..., Any], tiny_llama_folder: Path
) -> None:
    tokenizer = load_tokenizer(tiny_llama_folder)
    encoder, (example,) = encode([MULTI])
    learnt = tokenizer.decode([token for token, weight in zip(example.ids, example.target, strict=True) if weight])
    end = tokenizer.eos_token
    assert learnt.replace(" ", "") == f"Hello.{end}Byenow.{end}".replace(" ", "")
    xray, findings = encoder.seen()
    roles = {each["role"]: each for each in xray["roles"]}
    assert roles["assistant"]["turns"] == 2
    assert 0 < roles["assistant"]["supervised"] <= roles["assistant"]["tokens"]
    assert roles["user"]["supervised"] == 0
    assert (xray["rows"], xray["without_supervision"], xray["unsupervised_ends"], xray["cut_answers"]) == (1, 0, 0, 0)
    assert findings == ()
    shown = "".join(piece["text"] for piece in xray["samples"][0])
    assert "再见" in shown.replace(" ", "")


def test_only_the_last_answer_or_none_of_weight_zero(encode: Callable[..., Any]) -> None:
    _, (both,) = encode([MULTI])
    _, (last,) = encode([MULTI], learn="last")
    _, (first,) = encode([[*MULTI[:3], {**MULTI[3], "weight": 0}]])
    assert [a + b for a, b in zip(last.target, first.target, strict=True)] == both.target
    assert sum(last.target) > 0 < sum(first.target)


def test_answers_that_are_cut_off_are_counted_and_stop_the_run_where_nothing_is_left(
    encode: Callable[..., Any],
) -> None:
    encoder, _ = encode([MULTI] * 3, max_length=4)
    xray, findings = encoder.seen()
    assert xray["without_supervision"] == 3
    assert [(each.code, each.severity) for each in findings] == [("no_supervision", "violation")]
    assert "3 of 3 dialogues" in findings[0].message
    encoder, (example,) = encode([MULTI])
    encoder, _ = encode([MULTI], max_length=len(example.ids) - 2)
    xray, findings = encoder.seen()
    assert xray["cut_answers"] == 1
    assert [(each.code, each.severity) for each in findings] == [("cut_answers", "warning")]
