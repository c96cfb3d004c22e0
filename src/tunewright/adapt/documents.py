"""Plain texts as token ids of which all are learnt, long ones in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunewright.infer.tokens import frame_of
from tunewright.types import Choice, Example, Finding

if TYPE_CHECKING:
    import pyarrow as pa

    from tunewright.infer.continuation import Continuation

PIECE_TOKENS = 1024
"""What is read at once where the recipe does not say: beyond, cost grows faster than what a small model makes of it."""


class DocumentEncoder:
    """Token ids of the texts with their ends; the first token follows nothing and is not learnt."""

    per_token = True
    usual_length = PIECE_TOKENS

    def __init__(self, texts: Callable[[pa.Table], list[str]], template: Continuation, tokenizer: Any) -> None:
        """``texts`` reads the texts of prepared rows."""
        self._texts = texts
        self._template = template
        self._num_before = len(frame_of(tokenizer).before)
        self.choices: Sequence[Choice] = (Choice("encode.template", "none", template.reason),)

    def encode(self, rows: pa.Table) -> list[Example]:
        """The rows in order, whole."""
        chats = [self._template.encode([{"role": "user", "content": text}]) for text in self._texts(rows)]
        return [Example(chat.ids, [0.0] + [1.0] * (len(chat.ids) - 1)) for chat in chats]

    def cut(self, example: Example, max_length: int) -> Example:
        """The beginning of the text."""
        return Example(example.ids[:max_length], example.target[:max_length])

    def divide(self, example: Example, max_length: int) -> Sequence[Example]:
        """All of the text in pieces, each token learnt in one of them: a piece begins with the token before it, as context."""
        before, step = list(example.ids[: self._num_before]), max_length - self._num_before - 1
        pieces = [self.cut(example, max_length)]
        for start in range(max_length, len(example.ids), max(1, step)):
            ids = [*before, *example.ids[start - 1 : start + step]]
            skipped = self._num_before + 1
            pieces.append(Example(ids, [0.0] * skipped + [1.0] * (len(ids) - skipped)))
        return pieces

    def inspect(self, examples: Sequence[Example], cut: Sequence[bool]) -> None:
        """Nothing is to be seen of single rows: all of them is learnt."""

    def seen(self) -> tuple[Mapping[str, object] | None, Sequence[Finding]]:
        """No X-ray."""
        return None, ()
