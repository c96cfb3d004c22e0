"""Dialogues as token ids, with a weight to each token and an X-ray of what will be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tunewright.adapt.whole import CutsRows
from tunewright.errors import InputError
from tunewright.types import Choice, Example, Finding

if TYPE_CHECKING:
    import pyarrow as pa

    from tunewright.infer.template import ChatTemplate, TokenizedChat

SAMPLES = 3
"""Dialogues whose supervised tokens are shown."""

UNSUPERVISED_LIMIT = 0.01
"""Share of rows without any supervised token from which on the run is stopped."""


def learnt_turns(messages: Sequence[Mapping[str, Any]], which: str) -> set[int]:
    """The turns to learn, by their number: ``all`` of the assistant's or the ``last``, none that has weight 0."""
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return {index for index in (answers[-1:] if which == "last" else answers) if messages[index].get("weight") != 0}


def weigh(chat: TokenizedChat, learnt: set[int], first: int = 0) -> list[float]:
    """1 for each supervised token of the turns to learn, counted from turn ``first``; the first token follows nothing."""
    return [
        float(is_supervised and turn - first in learnt and at > 0)
        for at, (is_supervised, turn) in enumerate(zip(chat.supervised, chat.turn, strict=True))
    ]


class DialogueEncoder(CutsRows):
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
