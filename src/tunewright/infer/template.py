"""The form in which a model reads a dialogue: its chat template, rendered, tokenised, and known turn by turn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tunewright.errors import InputError
from tunewright.infer.load import control_tokens
from tunewright.infer.rendering import Message, Renderer
from tunewright.infer.shield import Shield
from tunewright.infer.turns import Span, find_turns, marked

DATE_OF_TRAINING = datetime(2025, 1, 1)
"""What a template that prints the date is told while a model is tuned and judged."""


@dataclass(frozen=True, slots=True)
class TokenizedChat:
    """Token ids of a dialogue; for each whether the model learns to write it, and the index of its message (-1: none)."""

    ids: list[int]
    supervised: list[bool]
    turn: list[int]


class ChatTemplate:
    """A chat template with the tokenizer that it belongs to.

    ``source`` is the template itself, to be saved with a tuned model's tokenizer; ``reason`` says where it comes from.
    """

    def __init__(
        self,
        source: str,
        reason: str,
        tokenizer: Any,
        *,
        tools_source: str | None = None,
        end_ids: Sequence[int] = (),
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        """``tools_source`` is used where tools are given; ``end_ids`` are further ids that end a turn."""
        variables = tokenizer.special_tokens_map
        self.source = source
        self.reason = reason
        self._tokenizer = tokenizer
        self._end_ids = tuple(end_ids)
        self._renderer = Renderer(source, variables, clock)
        self._tools_renderer = Renderer(tools_source, variables, clock) if tools_source else self._renderer

    @classmethod
    def for_training(cls, folder: Path, tokenizer: Any) -> ChatTemplate:
        """The same with one date for ever, where a template prints it: rows must not change from day to day."""
        return cls.of(folder, tokenizer, clock=lambda: DATE_OF_TRAINING)

    @classmethod
    def of(cls, folder: Path, tokenizer: Any, *, clock: Callable[[], datetime] = datetime.now) -> ChatTemplate:
        """The template of the model in ``folder``, or a plain one of tokens that its tokenizer has.

        ``clock`` tells the date to templates that print it.
        """
        end_ids = _ends(folder / "generation_config.json")
        own: Any = tokenizer.chat_template
        if isinstance(own, Mapping) and own:
            name = "default" if "default" in own else next(iter(own))
            reason = f"the tokenizer's own chat template {name!r} of {len(own)}"
            return cls(own[name], reason, tokenizer, tools_source=own.get("tool_use"), end_ids=end_ids, clock=clock)
        source, reason = (own, "the tokenizer's own chat template") if own else _plain(tokenizer)
        return cls(source, reason, tokenizer, end_ids=end_ids, clock=clock)

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[Any] | None = None
    ) -> str:
        """The dialogue as one text, with the beginning of an answer at its end on request.

        Raises InputError where the template refuses it, fails, loops on or prints too much.
        """
        renderer = self._renderer if tools is None else self._tools_renderer
        return renderer.render(messages, add_generation_prompt=add_generation_prompt, tools=tools)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[int]:
        """Token ids that a model goes on from with its answer. What a message spells is text, never a control token."""
        shield = Shield(self._control, [*messages, *(tools or ())])
        text = self.render(
            shield.hide(messages), add_generation_prompt=True, tools=None if tools is None else shield.hide(tools)
        )
        return shield.tokenize(self._tokenizer, text)[0]

    def encode(
        self, messages: Sequence[Message], tokenizer: Any = None, tools: Sequence[Any] | None = None
    ) -> TokenizedChat:
        """A whole dialogue. Supervised is what the model writes: each answer and the token that ends its turn.

        A token belongs to the turn in which its first character stands. What a message spells is text, never a control
        token. Raises InputError naming the turn where one cannot be found exactly.
        """
        shield = Shield(self._control, [*messages, *(tools or ())])
        hidden = shield.hide(messages)
        offered = None if tools is None else shield.hide(tools)

        def render(part: Sequence[Message], is_prompt: bool) -> str:
            return self.render(part, add_generation_prompt=is_prompt, tools=offered)

        text = render(hidden, False)
        spans = find_turns(render, hidden, text, self._closing)
        ids, offsets = shield.tokenize(tokenizer or self._tokenizer, text)
        turn = _owners(offsets, spans)
        is_answer = [message.get("role") == "assistant" for message in messages]
        return TokenizedChat(ids, [owner >= 0 and is_answer[owner] for owner in turn], turn)

    @property
    def ends_turn(self) -> bool:
        """Whether the template closes an answer with a token of its own."""
        return bool(self._closing)

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the closing token, the tokenizer's end of text, and the ends that the model names."""
        closing = self._tokenizer(self._closing.strip(), add_special_tokens=False)["input_ids"]
        ids = [*closing[-1:], self._tokenizer.eos_token_id, *self._end_ids]
        return tuple(dict.fromkeys(int(one) for one in ids if one is not None))

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """The spellings of all tokens that mean more than their letters, the longest first."""
        ids = sorted({*control_tokens(self._tokenizer), *self.stop_ids})
        names = {name for name in self._tokenizer.convert_ids_to_tokens(ids) if name}
        return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)")

    @cached_property
    def _closing(self) -> str:
        """The special token that follows an answer, with the white space before it; empty where there is none."""
        messages, at_marks = marked([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}], "")
        try:
            tail = at_marks.split(self.render(messages))[-1]
        except InputError:
            return ""
        added = self._tokenizer.added_tokens_decoder.values()
        special = {str(token) for token in added if token.special} | {self._tokenizer.eos_token or ""}
        start = len(tail) - len(tail.lstrip())
        token = max((one for one in special if tail.startswith(one, start)), key=len, default="")
        return tail[:start] + token if token else ""


def _ends(path: Path) -> list[int]:
    """The ids that end a text, as the model's own settings for generation name them."""
    try:
        settings: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError("not a JSON file", where=str(path), given=error, allowed="settings for generation") from error
    ends = settings.get("eos_token_id") if isinstance(settings, Mapping) else None
    return [one for one in (ends if isinstance(ends, list) else [ends]) if isinstance(one, int)]


def _owners(offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[int]:
    """The message of each token, by the place where the token begins.

    Tokenizers leave leading white space out of an offset, and give the parts of one letter the same one; both are mended.
    """
    owners = []
    ends_at, place = 0, 0
    for start, stop in offsets:
        begins_at = min(start, ends_at)
        ends_at = max(ends_at, stop)
        while place < len(spans) and spans[place].stop <= begins_at:
            place += 1
        is_inside = place < len(spans) and spans[place].start <= begins_at
        owners.append(spans[place].turn if is_inside else -1)
    return owners


def _plain(tokenizer: Any) -> tuple[str, str]:
    """A template of tokens that the tokenizer has, and why it is this one."""
    known = tokenizer.get_vocab()
    first = tokenizer("?")["input_ids"][:1]
    begin = "{{ bos_token }}" if tokenizer.bos_token and first == [tokenizer.bos_token_id] else ""
    if {"<start_of_turn>", "<end_of_turn>"} <= known.keys():
        return (
            begin + _GEMMA,
            "the base has no chat template; its <start_of_turn> and <end_of_turn> are used as by its family",
        )
    if {"<|im_start|>", "<|im_end|>"} <= known.keys():
        return (
            begin + _CHATML,
            "the base has no chat template; it has <|im_start|> and <|im_end|>, which ChatML is made of",
        )
    reason = "the base has neither a chat template nor tokens for one: plain text"
    if tokenizer.eos_token is None:
        return begin + _PLAIN, f"{reason}, and as it has no end of text either, its answers end by length alone"
    return begin + _PLAIN, f"{reason}, each answer closed by {tokenizer.eos_token}"


_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_GEMMA = (
    "{% set lead = namespace(text='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set lead.text = lead.text ~ message['content'] ~ '\\n\\n' %}{% else %}"
    "{{ '<start_of_turn>' ~ ('model' if message['role'] == 'assistant' else message['role']) ~ '\\n' }}"
    "{{ lead.text ~ message['content'] ~ '<end_of_turn>\\n' }}"
    "{% set lead.text = '' %}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
"""Without a role for systems: what one says stands before the next message, as Gemma 3 is trained."""
_PLAIN = (
    "{% for message in messages %}"
    "{{ message['role'] ~ ':\\n' ~ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
"""Lines end before each content, so that its first token is the same whether the content is there or to be written."""
