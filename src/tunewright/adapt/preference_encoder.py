"""Pairs of answers as token ids: the prompt once, then both answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tunewright.adapt.whole import CutsRows
from tunewright.errors import InputError
from tunewright.infer.pairs import BEGINS, CHOSEN, REJECTED, is_whole, kept_tokens
from tunewright.types import Choice, Example, Finding

if TYPE_CHECKING:
    import pyarrow as pa

    from tunewright.infer.template import ChatTemplate

UNSUPERVISED_LIMIT = 0.01
"""Share of pairs of which an answer was cut off, from which on the run is stopped."""


class PairTask(Protocol):
    """A task whose rows are two answers to one dialogue."""

    def pairs(self, rows: pa.Table) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """The dialogue with the better and with the worse answer."""
        ...


class PreferenceEncoder(CutsRows):
    """Both answers by the template; learnt are their tokens and what ends them."""

    per_token = True

    def __init__(self, task: PairTask, template: ChatTemplate) -> None:
        """Hold both."""
        self._task = task
        self._template = template
        self._num_rows = self._without = self._shared = self._whole = 0
        self.choices: Sequence[Choice] = (
            Choice("encode.template", f"{len(template.source):,} characters", template.reason),
        )

    def encode(self, rows: pa.Table) -> list[Example]:
        """The rows in order, whole. Raises InputError with the row's place."""
        examples = []
        places = zip(rows["file"].to_pylist(), rows["line"].to_pylist(), strict=True)
        for pair, (file, line) in zip(self._task.pairs(rows), places, strict=True):
            try:
                examples.append(self._example(*pair))
            except InputError as error:
                error.where = f"{file}:{line}"
                raise
        return examples

    def _example(self, chosen: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> Example:
        chats = [self._template.encode(messages) for messages in (chosen, rejected)]
        last = len(chosen) - 1
        learnt = [
            [supervised and turn == last for supervised, turn in zip(chat.supervised, chat.turn, strict=True)]
            for chat in chats
        ]
        limit = min(each.index(True) for each in learnt)
        same = next((at for at in range(limit) if chats[0].ids[at] != chats[1].ids[at]), limit)
        same = max(2, same)
        ids, target = list(chats[0].ids[:same]), [0.0] * same
        for chat, marks, mark in zip(chats, learnt, (CHOSEN, REJECTED), strict=True):
            part = [float(mark if is_learnt else 0) for is_learnt in marks[same:]]
            part[0] += BEGINS
            ids += chat.ids[same:]
            target += part
        self._shared += same
        self._whole += sum(len(chat.ids) for chat in chats)
        return Example(ids, target)

    def cut(self, example: Example, max_length: int) -> Example:
        """The end of the prompt and the beginning of both answers."""
        kept = kept_tokens(np.array(example.target), max_length).tolist()
        return Example([example.ids[at] for at in kept], [example.target[at] for at in kept])

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Count the pairs of which an answer is lost."""
        self._num_rows += len(examples)
        self._without += sum(not is_whole(np.array(each.target)) for each in examples)

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """No X-ray; a violation where answers were cut off."""
        if not self._without:
            return None, ()
        share = self._without / self._num_rows
        message = f"{self._without:,} of {self._num_rows:,} pairs have an answer of which nothing is left to learn"
        return None, (Finding("no_supervision", "violation" if share > UNSUPERVISED_LIMIT else "warning", message),)
