"""Dialogues: recognised among columns and read in four forms, to be learnt or to be answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tunewright.types import ColumnProfile, Field, Recognition, Row

FORMS: Mapping[str, Sequence[Field]] = {
    "messages": (
        Field("messages", "messages", "The turns: role and content, or from and value."),
        Field("system", "text", "The system message, where it has a column of its own.", required=False),
    ),
    "instruction": (
        Field("instruction", "text", "What is asked."),
        Field("output", "text", "The answer to learn."),
        Field("input", "text", "What it is asked of.", required=False),
        Field("system", "text", "The system message.", required=False),
    ),
    "prompt": (
        Field("prompt", "text", "What is asked."),
        Field("completion", "text", "The answer to learn."),
        Field("system", "text", "The system message.", required=False),
    ),
}
"""Form -> its fields, the one that tells it apart first."""

ANSWERS = frozenset(("output", "completion"))
"""The fields that hold an answer."""

_COLUMNS: Mapping[str, Sequence[str]] = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "对话"),
    "instruction": ("instruction", "instructions", "指令"),
    "output": ("output", "response", "输出"),
    "input": ("input", "输入"),
    "prompt": ("prompt", "question", "query", "提示", "问题"),
    "completion": ("completion", "response", "answer", "chosen", "回答", "答案"),
    "system": ("system", "system_prompt", "系统提示"),
}

_ROLES: Mapping[str, str] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ recognising


def recognise_dialogues(profiles: Sequence[ColumnProfile]) -> Recognition | None:
    """The columns of the form that fits best, or None where nothing looks like a dialogue."""
    by_name = {profile.name.strip().lower(): profile for profile in profiles if profile.num_values}
    system = _find("system", by_name)
    extra = {"system": system.name} if system else {}
    for profile in profiles:
        if profile.is_list and any(_looks_like_turns(example) for example in profile.examples):
            why = "its cells are lists of turns with a speaker and what was said"
            named = profile.name.lower() in _COLUMNS["messages"]
            return Recognition({"messages": profile.name, **extra}, 0.97 if named else 0.9, {"messages": why})
    for form, answer in (("instruction", "output"), ("prompt", "completion")):
        asked, answered = _find(form, by_name), _find(answer, by_name)
        if asked and answered and asked is not answered and _is_free_text(answered):
            columns = {form: asked.name, answer: answered.name, **extra}
            if form == "instruction" and (given := _find("input", by_name)):
                columns["input"] = given.name
            reasons = {form: f"named {asked.name}", answer: f"named {answered.name}, free text"}
            return Recognition(columns, 0.85 if form == "instruction" or asked.name == "prompt" else 0.7, reasons)
    return None


def recognise_requests(
    profiles: Sequence[ColumnProfile], known: Mapping[str, str]
) -> tuple[str, Mapping[str, str]] | None:
    """The form of rows to be answered and the columns that hold what was said; None where nothing looks like a dialogue.

    ``known`` are the columns that the model was tuned on; they come first. Columns of answers are not asked for.
    """
    by_name = {profile.name.strip().lower(): profile for profile in profiles}
    present = {profile.name for profile in profiles}
    given = {field: column for field, column in known.items() if column in present and field not in ANSWERS}
    system = {"system": found.name} if (found := _find("system", by_name)) else {}
    for form in FORMS:
        if form in given:
            return form, {**system, **given}
    for profile in profiles:
        if profile.is_list and any(_looks_like_turns(example) for example in profile.examples):
            return "messages", {"messages": profile.name, **system}
    for form in ("instruction", "prompt"):
        if asked := _find(form, by_name):
            extra = _find("input", by_name) if form == "instruction" else None
            return form, {form: asked.name, **({"input": extra.name} if extra else {}), **system}
    return None


def _find(field: str, by_name: Mapping[str, ColumnProfile]) -> ColumnProfile | None:
    return next((by_name[name] for name in _COLUMNS[field] if name in by_name), None)


def _is_free_text(profile: ColumnProfile) -> bool:
    """Whether cells are sentences of their own rather than a few labels that come again and again."""
    return profile.fraction_distinct > 0.3 and (profile.mean_words >= 3 or profile.num_distinct > 50)


def _looks_like_turns(example: str) -> bool:
    return ('"role":' in example and '"content":' in example) or ('"from":' in example and '"value":' in example)


# ----------------------------------------------------------------------------------------------------------- reading


def read_dialogue(form: str, fields: Row, system: str) -> list[dict[str, Any]]:
    """The messages of a row in canonical form. ValueError says why it is unusable."""
    if form == "messages":
        messages = [_read_turn(turn) for turn in _as_turns(fields.get("messages"))]
    else:
        answer = "output" if form == "instruction" else "completion"
        answered = {"role": "assistant", "content": _text(fields.get(answer), answer)}
        messages = [_asked(form, fields), answered]
    messages = _opened(messages, fields, system)
    _check_order(messages)
    if all(message["role"] != "assistant" for message in messages):
        raise ValueError("no turn of the assistant to learn")
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        raise ValueError("every turn of the assistant has weight 0")
    return messages


def read_request(form: str, fields: Row, system: str) -> list[dict[str, Any]]:
    """The messages of a row that are to be answered: up to the user's last turn. ValueError says why it is unusable.

    An answer that the row has already, even an empty one, is left out.
    """
    if form == "messages":
        turns = _as_turns(fields.get("messages"))
        messages = [_read_turn(turn) for turn in (turns[:-1] if _role(turns[-1]) == "assistant" else turns)]
    else:
        messages = [_asked(form, fields)]
    messages = _opened(messages, fields, system)
    _check_order(messages)
    if messages[-1]["role"] != "user":
        raise ValueError("no turn of the user to answer")
    return messages


def to_answer(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A read dialogue up to the user's last turn."""
    return list(messages[:-1] if messages[-1]["role"] == "assistant" else messages)


def split_last(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """What comes before the assistant's last turn, and that turn's text."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return list(messages[:last]), str(messages[last]["content"])


def _asked(form: str, fields: Row) -> dict[str, Any]:
    asked = _text(fields.get(form), form)
    if form == "instruction" and (given := fields.get("input")) not in (None, ""):
        asked = f"{asked}\n\n{_text(given, 'input')}"
    return {"role": "user", "content": asked}


def _opened(messages: list[dict[str, Any]], fields: Row, system: str) -> list[dict[str, Any]]:
    """With the row's own system message, or else ``system``, where the dialogue has none."""
    own = fields.get("system")
    opening = str(own) if own not in (None, "") else system
    if not opening or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": opening}, *messages]


def _text(value: object, field: str) -> str:
    if value is None or not str(value).strip():
        raise ValueError(f"empty {field}")
    return str(value)


def _as_turns(value: object) -> Sequence[object]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("the turns are not a JSON list") from None
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("no turns")
    return value


def _read_turn(turn: object) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        raise ValueError("a turn is not an object")
    role = _role(turn)
    if role is None:
        speaker = str(turn.get("role", turn.get("from")))[:40]
        raise ValueError(f"a turn of {speaker!r}: roles are system, user and assistant")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if turn.get("tool_calls") and not content:
        raise ValueError("a turn that only calls tools")
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"an empty turn of the {role}")
    weight = turn.get("weight", turn.get("loss", 1))
    return {"role": role, "content": content, **({"weight": 0} if weight in (0, False) else {})}


def _role(turn: object) -> str | None:
    return _ROLES.get(str(turn.get("role", turn.get("from"))).strip().lower()) if isinstance(turn, Mapping) else None


def _part(part: object) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ValueError("a part of a message that is not text")


def _check_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Speakers take turns, beginning with the user."""
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        raise ValueError("a system message that is not the first")
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if turns[:1] != ["user"]:
        raise ValueError("the first turn is not the user's")
    if any(first == second for first, second in pairwise(turns)):
        raise ValueError("two turns of the same speaker follow each other")
