"""A dialogue is tokenised once; which tokens a model learns to write is known to the token, in any language."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tunewright.errors import InputError
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate, TokenizedChat

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = [
    {"role": "system", "content": "Be kind. 友善。"},
    {"role": "user", "content": "user"},
    {"role": "assistant", "content": "assistant"},
    {"role": "user", "content": "  😀 再见 "},
    {"role": "assistant", "content": "再见！\n\nuser\n"},
]


@pytest.fixture
def folder(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may change."""
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))


def tokenizer_of(folder: Path, *special: str, template: Any = None) -> Any:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(list(special), special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


def parts(tokenizer: Any, chat: TokenizedChat) -> list[tuple[int, bool, str]]:
    """Runs of tokens of one turn: its message, whether it is supervised, the text."""
    runs: list[tuple[int, bool, list[int]]] = []
    for token, is_supervised, turn in zip(chat.ids, chat.supervised, chat.turn, strict=True):
        if not runs or runs[-1][:2] != (turn, is_supervised):
            runs.append((turn, is_supervised, []))
        runs[-1][2].append(token)
    return [(turn, is_supervised, tokenizer.decode(ids)) for turn, is_supervised, ids in runs]


def answers(tokenizer: Any, chat: TokenizedChat) -> list[str]:
    return [text for _, is_supervised, text in parts(tokenizer, chat) if is_supervised]


def test_content_and_end_of_turn_are_supervised_and_nothing_else(folder: Path) -> None:
    tokenizer = tokenizer_of(folder, "<|im_start|>", "<|im_end|>", template=CHATML)
    template = ChatTemplate.of(folder, tokenizer)
    chat = template.encode(CHAT)
    assert chat.ids == tokenizer.apply_chat_template(CHAT)["input_ids"]
    assert parts(tokenizer, chat) == [
        (-1, False, "<|im_start|>system\n"),
        (0, False, "Be kind. 友善。<|im_end|>"),
        (-1, False, "\n<|im_start|>user\n"),
        (1, False, "user<|im_end|>"),
        (-1, False, "\n<|im_start|>assistant\n"),
        (2, True, "assistant<|im_end|>"),
        (-1, False, "\n<|im_start|>user\n"),
        (3, False, "  😀 再见 <|im_end|>"),
        (-1, False, "\n<|im_start|>assistant\n"),
        (4, True, "再见！\n\nuser\n<|im_end|>"),
        (-1, False, "\n"),
    ]
    assert template.ends_turn
    assert template.stop_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id)
    assert template.source == CHATML


def test_what_is_supervised_goes_on_from_the_prompt(folder: Path) -> None:
    tokenizer = tokenizer_of(folder, "<|im_start|>", "<|im_end|>", template=CHATML)
    template = ChatTemplate.of(folder, tokenizer)
    for turn in (2, 4):
        chat = template.encode(CHAT[: turn + 1])
        assert chat.ids[: chat.turn.index(turn)] == template.prompt(CHAT[:turn])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(
            "{% for m in messages %}{{ '[' + m.role + ']' + (m.content | trim) }}{{ eos_token }}{% endfor %}"
            "{{ '[assistant]' if add_generation_prompt }}",
            ["assistant</s>", "再见！\n\nuser</s>"],
            id="strips",
        ),
        pytest.param(
            "{{ bos_token }}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
            "{{ '[INST] ' + ('<<' + messages[0].content + '>> ' if loop.first and messages[0].role == 'system' else '') }}"
            "{{ m.content + ' [/INST]' }}"
            "{% else %}{{ ' ' + m.content + ' ' + eos_token + bos_token }}{% endif %}{% endfor %}",
            [" assistant </s>", " 再见！\n\nuser\n </s>"],
            id="puts the system into the first question and has no prompt of its own",
        ),
        pytest.param(
            "{{ 'You help.\n' if messages[0].role != 'system' }}{% for m in messages %}{{ '<' + m.role + '>' }}"
            "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n</think>\n' }}{% endif %}"
            "{{ m.content.split('</think>')[-1].lstrip('\n') + eos_token }}{% endfor %}"
            "{{ '<assistant>' if add_generation_prompt }}",
            ["assistant</s>", "<think>\n</think>\n再见！\n\nuser\n</s>"],
            id="writes an empty thought before the last answer",
        ),
        pytest.param(
            "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '|' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<assistant><think>' }}{% else %}{{ eos_token }}{% endif %}",
            ["assistant", "再见！\n\nuser\n"],
            id="opens a thought in the prompt, and ends the dialogue but no turn",
        ),
        pytest.param(
            "{% for m in messages %}{% generation %}{{ m.role ~ ': ' ~ m.content ~ eos_token }}{% endgeneration %}{% endfor %}"
            "{{ 'assistant: ' if add_generation_prompt }}",
            ["assistant</s>", "再见！\n\nuser\n</s>"],
            id="marks what is generated",
        ),
    ],
)
def test_templates_with_habits_of_their_own(folder: Path, template: str, expected: list[str]) -> None:
    tokenizer = tokenizer_of(folder, template=template)
    chat = ChatTemplate.of(folder, tokenizer).encode(CHAT)
    assert chat.ids == tokenizer.apply_chat_template(CHAT)["input_ids"]
    assert answers(tokenizer, chat) == expected
    assert {turn for turn, learned in zip(chat.turn, chat.supervised, strict=True) if learned} == {2, 4}


def test_thoughts_that_a_template_drops_are_not_looked_for(folder: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<' + m.role + '>' }}{% if loop.last %}{{ m.content }}{% else %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% endif %}{{ eos_token }}{% endfor %}"
        "{{ '<assistant>' if add_generation_prompt }}"
    )
    tokenizer = tokenizer_of(folder, template=template)
    chat = [
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": "<think>\nso\n</think>\n\n二"},
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "content": "<think>\nwell\n</think>\n\n四"},
    ]
    found = answers(tokenizer, ChatTemplate.of(folder, tokenizer).encode(chat))
    assert found == ["二</s>", "<think>\nwell\n</think>\n\n四</s>"]


def test_an_answer_without_text_ends_its_turn_all_the_same(folder: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<' + m.role + '>' + (m.content or '') }}{% for call in m.tool_calls or [] %}"
        "{{ call | tojson }}{% endfor %}{{ eos_token }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}"
    )
    tokenizer = tokenizer_of(folder, template=template)
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "天气?"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]},
        {"role": "tool", "content": "雨"},
        {"role": "assistant", "content": ""},
    ]
    found = parts(tokenizer, ChatTemplate.of(folder, tokenizer).encode(chat))
    assert [part for part in found if part[0] >= 0] == [
        (0, False, "天气?</s>"),
        (1, True, '{"name": "look"}</s>'),
        (2, False, "雨</s>"),
        (3, True, "</s>"),
    ]


@pytest.mark.parametrize(
    ("template", "turn"),
    [
        ("{% for m in messages if m.role != 'system' %}{{ m.content + eos_token }}{% endfor %}", "turn 1 (system)"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}{{ messages | length }}", "turn 1 (system)"),
        (
            "{{ messages[0].content }}{% for m in messages %}{{ m.content }}{{ messages | length }}{% endfor %}",
            "turn 1 (system)",
        ),
    ],
    ids=["left out", "rewritten", "printed twice"],
)
def test_a_turn_that_cannot_be_found_is_named(folder: Path, template: str, turn: str) -> None:
    with pytest.raises(InputError) as caught:
        ChatTemplate.of(folder, tokenizer_of(folder, template=template)).encode(CHAT)
    assert caught.value.where == turn


def test_content_in_parts_is_refused(folder: Path) -> None:
    chat = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    with pytest.raises(InputError, match="content that is not one text"):
        ChatTemplate("{{ messages[0].content[0].text }}", "", tokenizer_of(folder)).encode(chat)


def test_a_base_without_template_gets_plain_text_of_what_it_has(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    template = ChatTemplate.of(folder, tokenizer)
    assert "neither a chat template nor tokens for one" in template.reason
    assert template.ends_turn
    chat = template.encode(CHAT)
    assert answers(tokenizer, chat) == ["assistant</s>", "再见！\n\nuser\n</s>"]
    assert chat.ids[: chat.supervised.index(True)] == template.prompt(CHAT[:2])
    tokenizer.chat_template = template.source
    assert tokenizer.apply_chat_template(CHAT)["input_ids"] == chat.ids


def test_without_end_of_text_no_turn_ends(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    tokenizer.eos_token = None
    (folder / "generation_config.json").unlink()
    template = ChatTemplate.of(folder, tokenizer)
    assert not template.ends_turn
    assert template.stop_ids == ()
    assert "by length alone" in template.reason
    assert answers(tokenizer, template.encode(CHAT)) == ["assistant", "再见！\n\nuser\n"]


@pytest.mark.parametrize(
    ("tokens", "beginning"),
    [
        (("<|im_start|>", "<|im_end|>"), "<|im_start|>system\nBe"),
        (("<start_of_turn>", "<end_of_turn>"), "<start_of_turn>user\nBe"),
    ],
)
def test_a_base_with_tokens_for_turns_uses_them(folder: Path, tokens: tuple[str, str], beginning: str) -> None:
    tokenizer = tokenizer_of(folder, *tokens)
    template = ChatTemplate.of(folder, tokenizer)
    assert tokens[0] in template.reason
    assert template.render(CHAT).startswith(beginning)
    chat = template.encode(CHAT)
    assert answers(tokenizer, chat) == ["assistant</s>", "再见！\n\nuser\n</s>"], (
        "the end that a base has learnt to write"
    )
    assert f"user{tokens[1]}" in template.render(CHAT)
    assert template.stop_ids == (tokenizer.eos_token_id,)


def test_the_ends_that_the_model_names_stop_it_and_padding_does_not(folder: Path) -> None:
    tokenizer = tokenizer_of(folder, "<pad>", template=CHATML)
    tokenizer.pad_token = "<pad>"
    ends = json.dumps({"eos_token_id": [7, 9], "pad_token_id": tokenizer.pad_token_id})
    (folder / "generation_config.json").write_text(ends, encoding="utf-8")
    assert ChatTemplate.of(folder, tokenizer).stop_ids == (tokenizer.eos_token_id, 7, 9)


def test_named_templates_are_chosen_as_transformers_chooses(folder: Path) -> None:
    named = {"default": "a{{ messages[0].content }}", "tool_use": "b{{ messages[0].content }}{{ tools | length }}"}
    tokenizer = tokenizer_of(folder, template=named)
    template = ChatTemplate.of(folder, tokenizer)
    tools: list[Any] = [{"type": "function"}]
    assert template.render(CHAT) == tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert template.render(CHAT, tools=tools) == tokenizer.apply_chat_template(CHAT, tools=tools, tokenize=False)
    assert (template.source, "'default'" in template.reason) == (named["default"], True)


def test_the_clock_is_an_argument(folder: Path) -> None:
    tokenizer = tokenizer_of(folder, template="{{ strftime_now('%d %b %Y') }}")
    assert ChatTemplate.of(folder, tokenizer, clock=lambda: datetime(2024, 7, 26)).render([]) == "26 Jul 2024"


def test_the_real_template_of_smollm2(smollm2_folder: Path) -> None:
    tokenizer = load_tokenizer(smollm2_folder)
    template = ChatTemplate.of(smollm2_folder, tokenizer)
    for messages in (CHAT, CHAT[1:], CHAT[1:3]):
        chat = template.encode(messages)
        assert template.render(messages) == tokenizer.apply_chat_template(messages, tokenize=False)
        assert chat.ids == tokenizer.apply_chat_template(messages)["input_ids"]
        assert answers(tokenizer, chat) == [f"{m['content']}<|im_end|>" for m in messages if m["role"] == "assistant"]
    assert template.stop_ids == (tokenizer.eos_token_id,)
