"""Dialogues in YAML, ``conversations:`` as lists of turns, become one JSON line of OpenAI messages each."""

from __future__ import annotations

import json
from pathlib import Path

from tunewright.assets.convert.base import Material
from tunewright.errors import CorruptError
from tunewright.store.artifact import Draft

_ROLES = ("user", "assistant")


class Chatterbot:
    """Turns alternate user, assistant: in the corpus every turn answers the one before."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write the result; the note counts the dialogues, those left out, and the last turns left off."""
        dialogues: list[list[str]] = []
        num_left_out = 0
        for number, (name, path) in enumerate(material.members.items(), start=1):
            for turns in read_conversations(path, name):
                if turns is None:
                    num_left_out += 1
                else:
                    dialogues.append(turns)
            material.tell("reading the dialogues", number, len(material.members), "")
        lines = [json.dumps({"messages": to_messages(turns)}, ensure_ascii=False) for turns in dialogues]
        draft.write_bytes(material.result, "".join(f"{line}\n" for line in lines).encode("utf-8"))
        num_odd = sum(len(turns) % 2 for turns in dialogues)
        return (f"{len(lines):,} dialogues; {num_left_out} malformed left out; {num_odd} last turns left off",)


def read_conversations(path: Path, name: str) -> list[list[str] | None]:
    """The turns of each conversation, None for one that is not a list of two or more texts. Raises CorruptError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        conversations = document["conversations"]
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CorruptError("not a file of conversations", where=name, given=error) from error
    return [_turns(conversation) for conversation in conversations]


def to_messages(turns: list[str]) -> list[dict[str, str]]:
    """The turns as messages, an even number of them, so that the last one is an answer."""
    pairs = len(turns) // 2 * 2
    return [{"role": _ROLES[number % 2], "content": turn} for number, turn in enumerate(turns[:pairs])]


def _turns(conversation: object) -> list[str] | None:
    if not isinstance(conversation, list) or len(conversation) < 2:
        return None
    if any(isinstance(turn, list | dict) or turn is None for turn in conversation):
        return None
    return [str(turn).strip() for turn in conversation]
