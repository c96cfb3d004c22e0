"""The form in which a model reads a plain text that it goes on with: no template, its parts as they follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.infer.rendering import Message
from tunewright.infer.template import TokenizedChat
from tunewright.infer.tokens import frame_of, locate


class Continuation:
    """Stands where a chat template does: messages are parts of one text, and all of it is written by the model."""

    source = ""
    reason = "plain text as it stands, closed by the end of text"
    ends_turn = True

    def __init__(self, tokenizer: Any) -> None:
        """Hold the tokenizer of the model."""
        self._tokenizer = tokenizer

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The end of text, where the tokenizer has one."""
        end = self._tokenizer.eos_token_id
        return () if end is None else (int(end),)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[int]:
        """Token ids that the model goes on from."""
        text = "".join(str(message["content"]) for message in messages)
        [(ids, _)] = locate(self._tokenizer, [text])
        return [*frame_of(self._tokenizer).before, *ids] or list(
            self.stop_ids
        )  # a text begins behind the end of another

    def encode(
        self, messages: Sequence[Message], tokenizer: Any = None, tools: Sequence[Any] | None = None
    ) -> TokenizedChat:
        """The whole text with its end; a token belongs to the part in which it begins, the end to the last one."""
        before, ends = frame_of(self._tokenizer).before, []
        text = ""
        for message in messages:
            text += str(message["content"])
            ends.append(len(text))
        [(ids, offsets)] = locate(self._tokenizer, [text])
        turn = [next(at for at, end in enumerate(ends) if start < end or at == len(ends) - 1) for start, _ in offsets]
        closing = list(self.stop_ids)
        last = len(messages) - 1
        return TokenizedChat(
            [*before, *ids, *closing],
            [False] * len(before) + [True] * (len(ids) + len(closing)),
            [-1] * len(before) + turn + [last] * len(closing),
        )
