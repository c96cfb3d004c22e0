"""A model that says what a test tells it to say: the fakes of an engine and of a template."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tunewright.infer.conversation import Conversation
from tunewright.types import Generation, Sampling, Tell, tell_nobody

Serve = Callable[..., AbstractContextManager[str]]
"""``with serve(model, max_batch=2) as address``."""

CONTEXT = 4096
REPLY = "Hello 👩‍👩‍👧‍👦, 你好！ Bye."


class Parrot:
    """An engine that says one text, token by token; after ``pause`` seconds each, and not before ``may_go`` is set."""

    capacity = 8

    def __init__(self, tokenizer: Any, reply: str = REPLY, pause: float = 0.0) -> None:
        self.tokenizer = tokenizer
        self.reply = reply
        self.pause = pause
        self.may_go = threading.Event()
        self.may_go.set()
        self.asked: list[tuple[list[int], Sampling]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.is_closed = False
        self.fails: Exception | None = None
        self._lock = threading.Lock()

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, tell: Tell = tell_nobody, label: str = ""
    ) -> list[Generation]:
        return [Generation(tuple(self.stream(prompt, sampling)), "stop") for prompt in prompts]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        with self._lock:
            self.asked.append((list(prompt), sampling))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.may_go.wait(20)
            for token in self.tokenizer(self.reply)["input_ids"][: sampling.max_tokens]:
                if self.fails is not None:
                    raise self.fails
                time.sleep(self.pause)
                yield token
        finally:
            with self._lock:
                self.under_way -= 1

    def close(self) -> None:
        self.is_closed = True


class Plain:
    """A template that writes each turn as ``role: text``."""

    source = "plain"

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def prompt(self, messages: Sequence[dict[str, str]]) -> list[int]:
        text = "".join(f"{turn['role']}: {turn['content']}\n" for turn in messages)
        ids: list[int] = self.tokenizer(text + "assistant:")["input_ids"]
        return ids


def talk(parrot: Parrot) -> Conversation:
    """A conversation with the parrot."""
    template: Any = Plain(parrot.tokenizer)
    return Conversation(parrot, template, parrot.tokenizer)
