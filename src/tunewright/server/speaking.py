"""Text from an engine, piece by piece: whole characters, no special tokens, cut before a stop text."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.infer.conversation import Conversation
from tunewright.server.errors import Refusal
from tunewright.server.limits import Limits
from tunewright.server.schema import ChatRequest, CompletionRequest, Wish
from tunewright.server.served import Model
from tunewright.types import Sampling


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, the tokens generated so far, and in the last piece why the answer ended."""

    text: str
    num_tokens: int
    finish: Literal["stop", "length"] | None = None


def speak(
    conversation: Conversation, prompt: Sequence[int], sampling: Sampling, stops: Sequence[str] = ()
) -> Iterator[Piece]:
    """The answer to a prompt of token ids. Closing the iterator cancels the generation."""
    hold = Hold(stops)
    num_tokens = 0

    def counted() -> Iterator[int]:
        nonlocal num_tokens
        tokens: Any = conversation.engine.stream(prompt, sampling)
        with closing(tokens):
            for token in tokens:
                num_tokens += 1
                yield token

    pieces: Any = conversation.pieces(counted())
    with closing(pieces):
        for piece in pieces:
            if text := hold.push(piece):
                yield Piece(text, num_tokens)
            if hold.is_over:
                yield Piece("", num_tokens, "stop")
                return
    yield Piece(hold.rest(), num_tokens, "length" if num_tokens >= sampling.max_tokens else "stop")


class Hold:
    """Holds back text that may be the beginning of a stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        """``stops`` are the texts before which the answer ends."""
        self._stops = tuple(stops)
        self._held = ""
        self.is_over = False

    def push(self, text: str) -> str:
        """What can be told now."""
        if self.is_over:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_over = True
            told, self._held = self._held[: min(found)], ""
            return told
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        told, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return told

    def rest(self) -> str:
        """What was held back in vain."""
        return self._held

    def _overlap(self, stop: str) -> int:
        """How many of the last characters are the first ones of ``stop``."""
        longest = min(len(stop) - 1, len(self._held))
        return next((count for count in range(longest, 0, -1) if self._held.endswith(stop[:count])), 0)


def stops_of(wish: Wish) -> tuple[str, ...]:
    """The stop texts that were asked for."""
    return (wish.stop,) if isinstance(wish.stop, str) else tuple(wish.stop or ())


def sampling_of(wish: Wish, model: Model, limits: Limits.Config, longest_prompt: int) -> Sampling:
    """How to draw; raises Refusal where more tokens are asked for than the server gives or the model can read."""
    name, asked = "max_tokens", wish.max_tokens
    if isinstance(wish, ChatRequest) and wish.max_completion_tokens is not None:
        name, asked = "max_completion_tokens", wish.max_completion_tokens
    room = model.context_tokens - longest_prompt
    if longest_prompt > limits.max_input_tokens or room < 1:
        allowed = min(limits.max_input_tokens, model.context_tokens - 1)
        problem = f"the prompt has {longest_prompt} tokens; allowed: at most {allowed}"
        param = "messages" if isinstance(wish, ChatRequest) else "prompt"
        raise Refusal(400, problem, param=param, code="context_length_exceeded")
    most = min(limits.max_tokens, room)
    if asked is not None and asked > most:
        raise Refusal(400, f"{asked} tokens are asked for; allowed: at most {most} after this prompt", param=name)
    return Sampling(
        max_tokens=asked or most,
        temperature=wish.temperature or 0.0,
        top_p=1.0 if wish.top_p is None else wish.top_p,
        top_k=wish.top_k or 0,
        repetition_penalty=1.0 if wish.repetition_penalty is None else wish.repetition_penalty,
        seed=secrets.randbelow(2**31) if wish.seed is None else wish.seed % 2**63,
    )


def prompts_of(wish: Wish, conversation: Conversation, limits: Limits.Config) -> list[list[int]]:
    """The token ids of each prompt, rendered as in training. Raises Refusal for what cannot be rendered."""
    if isinstance(wish, ChatRequest):
        return [list(conversation.template.prompt([message.as_turn() for message in wish.messages]))]
    assert isinstance(wish, CompletionRequest)
    texts = [wish.prompt] if isinstance(wish.prompt, str) else wish.prompt
    if len(texts) > limits.max_batch:
        raise Refusal(400, f"{len(texts)} prompts; allowed: at most {limits.max_batch}", param="prompt")
    prompts = [list(conversation.tokenizer(text)["input_ids"]) for text in texts]
    if not all(prompts):
        raise Refusal(400, "a prompt has no tokens; allowed: text", param="prompt")
    return prompts
