"""Find in a rendered dialogue the characters of each turn: what was said, and what ends it.

A template is a program, so the places are not guessed from the text. The dialogue is rendered a second time with a mark in
the place of each content, and the two renderings are laid on each other; what a model writes of its own turn begins where
the prompt ends that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunewright.errors import InputError
from tunewright.infer.rendering import Message

Render = Callable[[Sequence[Message], bool], str]
"""Messages, and whether the beginning of an answer stands at the end; the dialogue as one text."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``stop`` (not included) of the rendered dialogue that belong to the message ``turn``."""

    turn: int
    start: int
    stop: int


def find_turns(render: Render, messages: Sequence[Message], text: str, closing: str) -> list[Span]:
    """The turns in ``text``, which is ``render(messages)``, in the order of the text; messages without text have none.

    ``closing`` ends a turn and belongs to it; empty where the template closes none. An answer is whatever a model writes:
    from the end of the prompt to the closing. Raises InputError where a turn cannot be found exactly.
    """
    said = {span.turn: span for span in _contents(render, messages, text)}
    for index, message in enumerate(messages):
        if message.get("role") == "assistant":
            said[index] = _answer(render, messages, text, index, said)
    spans = sorted(said.values(), key=lambda span: span.start)
    for place, span in enumerate(spans):
        limit = spans[place + 1].start if place + 1 < len(spans) else len(text)
        end = text.find(closing, span.stop, limit) if closing else -1
        if end >= 0:
            spans[place] = replace(span, stop=end + len(closing))
        elif not _speaks(messages[span.turn]) and messages[span.turn].get("tool_calls"):
            raise _not_found(messages, span.turn, "tool calls that nothing closes")
    return spans


def marked(messages: Sequence[Message], text: str) -> tuple[list[Message], re.Pattern[str]]:
    """The messages with a mark in the place of each content, and a pattern that splits a rendering at the marks.

    Thoughts before the content stay, because templates look for them.
    """
    mark = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)
    changed: list[Message] = []
    for index, message in enumerate(messages):
        content = message.get("content")
        thoughts = content[: _after_thoughts(content)] if isinstance(content, str) else ""
        changed.append({**message, "content": f"{thoughts}{mark}{index}{mark}"} if _speaks(message) else message)
    return changed, re.compile(f"{mark}(\\d+){mark}")


def _contents(render: Render, messages: Sequence[Message], text: str) -> list[Span]:
    """Where the content of each message stands, without what encloses it."""
    for index, message in enumerate(messages):
        if not isinstance(message.get("content") or "", str):
            raise _not_found(messages, index, "content that is not one text")
    changed, at_marks = marked(messages, text + "".join(str(message) for message in messages))
    pieces = at_marks.split(render(changed, False))
    order = [int(number) for number in pieces[1::2]]
    expected = [index for index, message in enumerate(messages) if _speaks(message)]
    for index in expected:
        if order.count(index) != 1:
            return _by_growth(render, messages, text, expected)
    try:
        return list(_laid_on(text, pieces[::2], order, messages))
    except InputError:
        return _by_growth(render, messages, text, expected)


def _laid_on(text: str, literals: Sequence[str], order: Sequence[int], messages: Sequence[Message]) -> Iterator[Span]:
    """Walk the text: what is between the marks must stand in it letter by letter, and the contents between that."""
    position = len(literals[0])
    if not text.startswith(literals[0]):
        raise _not_found(messages, order[0] if order else 0, "other text before it")
    for number, index in enumerate(order):
        literal, is_last = literals[number + 1], number == len(order) - 1
        content = str(messages[index]["content"])
        said = content[_after_thoughts(content) :]
        for form in dict.fromkeys((said, said.lstrip("\n"), said.strip(), said.rstrip(), said.lstrip())):
            end = position + len(form) + len(literal)
            if text.startswith(form + literal, position) and (not is_last or end == len(text)):
                yield Span(index, position, position + len(form))
                position = end
                break
        else:
            raise _not_found(messages, index, "a content that the template rewrites")


def _by_growth(render: Render, messages: Sequence[Message], text: str, expected: Sequence[int]) -> list[Span]:
    """The contents, each within what its message adds to the rendering of those before it; results may be rewritten."""
    spans = []
    before = ""
    for index, message in enumerate(messages):
        after = text if index == len(messages) - 1 else render(messages[: index + 1], False)
        if index in expected:
            said = str(message["content"])
            said = said[_after_thoughts(said) :].strip()
            place = after.rfind(said, len(before))
            is_found = after.startswith(before) and text.startswith(after) and place >= 0
            if not is_found and message.get("role") == "tool":
                continue
            if not is_found:
                raise _not_found(messages, index, "no place of its own in the rendered text")
            spans.append(Span(index, place, place + len(said)))
        before = after
    return spans


def _answer(render: Render, messages: Sequence[Message], text: str, index: int, said: dict[int, Span]) -> Span:
    """What an assistant wrote: from the end of the prompt that would make a model write it, up to its closing."""
    prompt = render(messages[:index], True) if index else ""
    shared = next((at for at, (one, two) in enumerate(zip(prompt, text, strict=False)) if one != two), len(prompt))
    content = said.get(index)
    if content is None:
        if not index or shared < len(prompt):
            raise _not_found(messages, index, "an answer without text that cannot be told from its neighbours")
        return Span(index, shared, shared)
    earlier = max((span.stop for span in said.values() if span.start < content.start), default=0)
    return replace(content, start=shared) if index and earlier <= shared <= content.start else content


def _after_thoughts(content: str) -> int:
    return content.rfind("</think>") + len("</think>") if "</think>" in content else 0


def _speaks(message: Message) -> bool:
    content: Any = message.get("content")
    return isinstance(content, str) and bool(content[_after_thoughts(content) :].strip())


def _not_found(messages: Sequence[Message], index: int, given: str) -> InputError:
    return InputError(
        "a turn cannot be found in the rendered dialogue",
        where=f"turn {index + 1} ({messages[index].get('role')})",
        given=given,
        allowed="messages whose content the chat template prints once and unchanged, white space at the ends aside",
        hint="change the message, or give the base a chat template that prints it",
    )
