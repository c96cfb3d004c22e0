"""Texts with spans as token ids, and one tag to each word, at the first of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tunewright.adapt.whole import CutsRows
from tunewright.infer.tags import Tags
from tunewright.infer.tokens import frame_of, locate
from tunewright.infer.words import find_units
from tunewright.types import Choice, Example, Finding, Spans

if TYPE_CHECKING:
    import pyarrow as pa

UNREACHABLE_LIMIT = 0.05
"""Share of spans whose ends lie inside a token from which on it is said."""


class SpanTask(Protocol):
    """A bound task whose rows are a text with labelled spans."""

    @property
    def tags(self) -> Tags:
        """The tags of its labels."""
        ...

    def texts(self, rows: pa.Table) -> list[str]:
        """The text of each row."""
        ...

    def gold(self, rows: pa.Table) -> Spans:
        """The spans of each row."""
        ...


class TagEncoder(CutsRows):
    """Token ids within the tokenizer's own special tokens; the target of a word's first token is its tag's number plus one."""

    per_token = True
    choices: Sequence[Choice] = ()

    def __init__(self, task: SpanTask, tokenizer: Any) -> None:
        """Hold both."""
        self._task = task
        self._tokenizer = tokenizer
        self._num_spans = self._num_moved = 0

    def encode(self, rows: pa.Table) -> list[Example]:
        """The rows in order, whole."""
        texts = self._task.texts(rows)
        frame, examples = frame_of(self._tokenizer), []
        for text, (ids, offsets), spans in zip(
            texts, locate(self._tokenizer, texts), self._task.gold(rows).found, strict=True
        ):
            units = find_units(text, offsets)
            tags, num_moved = self._task.tags.of_spans(spans, units)
            self._num_spans += len(spans)
            self._num_moved += num_moved
            target = [0.0] * len(ids)
            for unit, tag in zip(units, tags, strict=True):
                target[unit.token] = float(tag + 1)
            around = [0.0] * len(frame.before), [0.0] * len(frame.behind)
            read = ids or [self._tokenizer.eos_token_id or 0]  # a text of which nothing is left is one token
            examples.append(Example(frame.around(read), [*around[0], *(target or [0.0]), *around[1]]))
        return examples

    def cut(self, example: Example, max_length: int) -> Example:
        """The text is cut on the right, the special tokens around it are kept."""
        end = len(frame_of(self._tokenizer).behind)
        whole = len(example.ids)
        return Example(
            [*example.ids[: max_length - end], *example.ids[whole - end :]],
            [*example.target[: max_length - end], *example.target[whole - end :]],
        )

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Nothing is to be seen of single rows."""

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """No X-ray; a warning where many spans end inside a token, so that no tags can spell them."""
        if self._num_moved <= UNREACHABLE_LIMIT * self._num_spans:
            return None, ()
        share = self._num_moved / self._num_spans
        message = (
            f"{self._num_moved:,} of {self._num_spans:,} spans ({share:.0%}) begin or end inside a word or a token of this "
            "model, and cannot be answered exactly"
        )
        return None, (Finding("spans_inside_tokens", "warning", message),)
