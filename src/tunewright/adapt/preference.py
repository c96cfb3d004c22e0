"""Pairs of answers of which one is preferred: recognised among columns, and read in the forms that people have.

{"prompt": "Hi", "chosen": "Hello!", "rejected": "What."}                     also "question", "instruction" with "input"
{"chosen": [{"role": "user", ...}, {"role": "assistant", ...}], "rejected": [...]}           two dialogues that begin alike
{"conversations": [...], "chosen": {"from": "gpt", "value": ...}, "rejected": {...}}         a dialogue and its two ends
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunewright.adapt.dialogue import read_dialogue, read_request
from tunewright.types import ColumnProfile, Field, Recognition, Row

FIELDS: Sequence[Field] = (
    Field("chosen", "messages", "The better answer."),
    Field("rejected", "messages", "The worse answer."),
    Field("prompt", "text", "What is asked.", required=False),
    Field("instruction", "text", "What is asked.", required=False),
    Field("input", "text", "What it is asked of.", required=False),
    Field("messages", "messages", "The dialogue before the answers.", required=False),
    Field("system", "text", "The system message.", required=False),
)

_NAMES: Mapping[str, Sequence[str]] = {
    "chosen": ("chosen", "preferred", "better", "accepted", "选中", "优选"),
    "rejected": ("rejected", "dispreferred", "worse", "拒绝", "劣选"),
    "prompt": ("prompt", "question", "query", "提示", "问题"),
    "instruction": ("instruction", "指令"),
    "input": ("input", "输入"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "对话"),
    "system": ("system", "system_prompt", "系统提示"),
}


def recognise_preferences(profiles: Sequence[ColumnProfile]) -> Recognition | None:
    """The columns of the two answers and of what is asked; None where nothing looks like a pair."""
    by_name = {profile.name.strip().lower(): profile.name for profile in profiles if profile.num_values}
    found = {field: next((by_name[name] for name in names if name in by_name), "") for field, names in _NAMES.items()}
    dotted = {name.partition(".")[0] for name in by_name}
    for field in ("chosen", "rejected"):
        found[field] = found[field] or next((name for name in _NAMES[field] if name in dotted), "")
    if not found["chosen"] or not found["rejected"]:
        return None
    columns = {field: name for field, name in found.items() if name}
    return Recognition(columns, 0.98, {field: f"named {name}" for field, name in columns.items()})


def read_preference(fields: Row, system: str) -> tuple[list[dict[str, Any]], str, str]:
    """The dialogue up to the user's last turn, the better and the worse answer. ValueError says why a row is unusable."""
    chosen, rejected = (_answer(fields.get(field), field) for field in ("chosen", "rejected"))
    asked = _asked(fields, chosen[0], rejected[0], system)
    if chosen[1] == rejected[1]:
        raise ValueError("both answers are the same")
    return asked, chosen[1], rejected[1]


def _answer(value: object, field: str) -> tuple[list[Any], str]:
    """The turns before an answer, where they come with it, and its text."""
    value = _unwrapped(value)
    before: list[Any] = []
    if isinstance(value, list | tuple):
        turns = list(value)
        before, value = turns[:-1], turns[-1] if turns else None
    if isinstance(value, Mapping):
        value = value.get("content", value.get("value"))
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"empty {field}")
    return before, value


def _unwrapped(value: object) -> object:
    """Messages that are written out in a cell; any other text as it is, also where it is JSON."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    turns = parsed if isinstance(parsed, list) else [parsed]
    are_turns = bool(turns) and all(isinstance(turn, Mapping) and {"role", "from"} & turn.keys() for turn in turns)
    return parsed if are_turns else value


def _asked(fields: Row, before: list[Any], other: list[Any], system: str) -> list[dict[str, Any]]:
    if before or other:
        if before != other:
            raise ValueError("the answers are to different dialogues")
        return read_request("messages", {**fields, "messages": before}, system)
    if fields.get("messages") not in (None, ""):
        return read_request("messages", fields, system)
    if isinstance(asked := _unwrapped(fields.get("prompt")), list | tuple):
        return read_request("messages", {**fields, "messages": asked}, system)
    form = "instruction" if fields.get("instruction") not in (None, "") else "prompt"
    return read_request(form, fields, system)


def as_dialogue(asked: Sequence[Mapping[str, Any]], answer: str) -> list[dict[str, Any]]:
    """What was asked with this answer to it, checked as any dialogue."""
    return read_dialogue("messages", {"messages": [*asked, {"role": "assistant", "content": answer}]}, "")
