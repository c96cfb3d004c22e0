"""Dialogues: recognised among columns, read in four forms, and encoded with an X-ray of what will be learnt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from tunewright.errors import InputError
from tunewright.types import Choice, ColumnProfile, Example, Field, Finding, Recognition, Row

if TYPE_CHECKING:
    import pyarrow as pa

    from tunewright.infer.template import ChatTemplate, TokenizedChat

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

SAMPLES = 3
"""Dialogues whose supervised tokens are shown."""

UNSUPERVISED_LIMIT = 0.01
"""Share of rows without any supervised token from which on the run is stopped."""


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
        asked = _text(fields.get(form), form)
        if form == "instruction" and (given := fields.get("input")) not in (None, ""):
            asked = f"{asked}\n\n{_text(given, 'input')}"
        answer = "output" if form == "instruction" else "completion"
        messages = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": _text(fields.get(answer), answer)},
        ]
    own = fields.get("system")
    opening = str(own) if own not in (None, "") else system
    if opening and (not messages or messages[0]["role"] != "system"):
        messages.insert(0, {"role": "system", "content": opening})
    _check_order(messages)
    return messages


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
    speaker = turn.get("role", turn.get("from"))
    role = _ROLES.get(str(speaker).strip().lower())
    if role is None:
        raise ValueError(f"a turn of {str(speaker)[:40]!r}: roles are system, user and assistant")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if turn.get("tool_calls") and not content:
        raise ValueError("a turn that only calls tools")
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"an empty turn of the {role}")
    weight = turn.get("weight", turn.get("loss", 1))
    return {"role": role, "content": content, **({"weight": 0} if weight in (0, False) else {})}


def _part(part: object) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ValueError("a part of a message that is not text")


def _check_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Speakers take turns, beginning with the user; some answer is to be learnt."""
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        raise ValueError("a system message that is not the first")
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if turns[:1] != ["user"]:
        raise ValueError("the first turn is not the user's")
    if any(first == second for first, second in pairwise(turns)):
        raise ValueError("two turns of the same speaker follow each other")
    if "assistant" not in turns:
        raise ValueError("no turn of the assistant to learn")
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        raise ValueError("every turn of the assistant has weight 0")


# ---------------------------------------------------------------------------------------------------------- encoding


def learnt_turns(messages: Sequence[Mapping[str, Any]], which: str) -> set[int]:
    """The turns to learn, by their number: ``all`` of the assistant's or the ``last``, none that has weight 0."""
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return {index for index in (answers[-1:] if which == "last" else answers) if messages[index].get("weight") != 0}


def split_last(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """What comes before the assistant's last turn, and that turn's text."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return list(messages[:last]), str(messages[last]["content"])


def weigh(chat: TokenizedChat, learnt: set[int], first: int = 0) -> list[float]:
    """1 for each supervised token of the turns to learn, counted from turn ``first``; the first token follows nothing."""
    return [
        float(is_supervised and turn - first in learnt and at > 0)
        for at, (is_supervised, turn) in enumerate(zip(chat.supervised, chat.turn, strict=True))
    ]


class DialogueEncoder:
    """Dialogues as token ids with a weight to each token, and the X-ray of what is supervised (promise N2)."""

    per_token = True

    def __init__(
        self,
        dialogues: Callable[[pa.Table], list[list[Mapping[str, Any]]]],
        template: ChatTemplate,
        tokenizer: Any,
        learnt: Callable[[Sequence[Mapping[str, Any]]], set[int]],
    ) -> None:
        """``dialogues`` reads the messages of prepared rows, ``learnt`` says which of a dialogue's turns are supervised."""
        self._dialogues = dialogues
        self._template = template
        self._tokenizer = tokenizer
        self._learnt = learnt
        self._counts: Counter[tuple[str, str]] = Counter()
        self._num_rows = self._without = self._cut_answers = self._open_ends = 0
        self._samples: list[list[dict[str, object]]] = []
        self.choices: Sequence[Choice] = (
            Choice("encode.template", f"{len(template.source):,} characters", template.reason),
        )

    def encode(self, rows: pa.Table) -> list[Example]:
        """Each dialogue by the template. Raises InputError with the row's place."""
        examples = []
        places = zip(rows["file"].to_pylist(), rows["line"].to_pylist(), strict=True)
        for messages, (file, line) in zip(self._dialogues(rows), places, strict=True):
            try:
                chat = self._template.encode(messages, self._tokenizer)
            except InputError as error:
                error.where = f"{file}:{line}"
                raise
            weights = weigh(chat, self._learnt(messages))
            roles = [message["role"] for message in messages]
            examples.append(Example(chat.ids, weights, chat.turn, roles))
        return examples

    def cut(self, example: Example, max_length: int) -> Example:
        """The right end is cut off."""
        kept = slice(max_length)
        return Example(example.ids[kept], example.target[kept], example.turns[kept], example.roles)

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Count what is supervised, by role; keep the first dialogues as coloured pieces."""
        ends = set(self._template.stop_ids)
        for example, was_cut in zip(examples, cut, strict=True):
            self._num_rows += 1
            self._without += not any(example.target)
            seen = set()
            for turn, weight in zip(example.turns, example.target, strict=True):
                role = example.roles[turn] if turn >= 0 else "template"
                self._counts[role, "tokens"] += 1
                self._counts[role, "supervised"] += weight > 0
                seen.add(turn)
            for turn in seen - {-1}:
                self._counts[example.roles[turn], "turns"] += 1
            supervised = [at for at, weight in enumerate(example.target) if weight]
            self._cut_answers += bool(was_cut and supervised and supervised[-1] == len(example.ids) - 1)
            if supervised and not was_cut and self._template.ends_turn:
                self._open_ends += example.ids[supervised[-1]] not in ends
            if len(self._samples) < SAMPLES:
                self._samples.append(self._pieces(example))

    def _pieces(self, example: Example) -> list[dict[str, object]]:
        tokens = zip(example.ids, example.target, example.turns, strict=True)
        return [
            {
                "text": self._tokenizer.decode([each[0] for each in group]),
                "supervised": supervised,
                "role": example.roles[turn] if turn >= 0 else "template",
            }
            for (supervised, turn), group in groupby(tokens, key=lambda each: (each[1] > 0, each[2]))
        ]

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """The X-ray, and what in it should stop a run."""
        roles = [role for role in ("system", "user", "assistant", "template") if self._counts[role, "tokens"]]
        xray: dict[str, object] = {
            "roles": [
                {"role": role, **{what: self._counts[role, what] for what in ("turns", "tokens", "supervised")}}
                for role in roles
            ],
            "rows": self._num_rows,
            "without_supervision": self._without,
            "cut_answers": self._cut_answers,
            "unsupervised_ends": self._open_ends,
            "samples": self._samples,
        }
        return xray, tuple(self._findings())

    def _findings(self) -> list[Finding]:
        found = []
        if self._without:
            share = self._without / self._num_rows
            message = (
                f"{self._without:,} of {self._num_rows:,} dialogues have no token to learn: their answers were cut off"
            )
            found.append(Finding("no_supervision", "violation" if share > UNSUPERVISED_LIMIT else "warning", message))
        if self._open_ends:
            message = f"{self._open_ends:,} dialogues do not learn to end: their last supervised token closes no turn"
            found.append(Finding("end_not_supervised", "violation", message))
        if not self._template.ends_turn:
            message = "this template has no token that ends a turn: the model will not learn to stop"
            found.append(Finding("no_end_of_turn", "violation", message))
        if self._cut_answers:
            message = f"{self._cut_answers:,} answers are cut by encode.max_length and do not show how to end"
            found.append(Finding("cut_answers", "warning", message))
        return found
