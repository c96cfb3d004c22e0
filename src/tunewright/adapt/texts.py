"""Rows with one text as examples: the text's tokens, and the task's target beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tunewright.adapt.whole import CutsRows
from tunewright.infer.load import count_closing, tokenize
from tunewright.types import Choice, Example, Finding

if TYPE_CHECKING:
    import pyarrow as pa


class TextTask(Protocol):
    """A bound task whose rows are one text and one target."""

    def texts(self, rows: pa.Table) -> list[str]:
        """The text of each row."""
        ...

    def targets(self, rows: pa.Table) -> list[list[float]]:
        """The target of each row."""
        ...


class TextEncoder(CutsRows):
    """Token ids of the texts with the tokenizer's own special tokens."""

    per_token = False
    choices: Sequence[Choice] = ()

    def __init__(self, task: TextTask, tokenizer: Any) -> None:
        """Hold both."""
        self._task = task
        self._tokenizer = tokenizer

    def encode(self, rows: pa.Table) -> list[Example]:
        """The rows in order, whole."""
        ids = tokenize(self._tokenizer, self._task.texts(rows), None)
        return [Example(row, target) for row, target in zip(ids, self._task.targets(rows), strict=True)]

    def cut(self, example: Example, max_length: int) -> Example:
        """The text is cut on the right, the special tokens around it are kept."""
        end = count_closing(self._tokenizer)
        return Example([*example.ids[: max_length - end], *example.ids[len(example.ids) - end :]], example.target)

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Nothing to see: every row has its target."""

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """No X-ray."""
        return None, ()
