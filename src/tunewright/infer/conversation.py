"""Talk to a model: messages in, text out, as a whole or piece by piece."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.errors import InputError
from tunewright.infer.rendering import Message
from tunewright.infer.template import ChatTemplate
from tunewright.seams import Engine
from tunewright.types import Sampling, Tell, Text, tell_nobody


class Conversation:
    """An engine with the template and the tokenizer of its model."""

    def __init__(self, engine: Engine, template: ChatTemplate, tokenizer: Any) -> None:
        self.engine = engine
        self.template = template
        self.tokenizer = tokenizer

    def answer(
        self,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        tell: Tell = tell_nobody,
        label: str = "generating answers",
    ) -> Text:
        """The next message of an assistant in each dialogue.

        Raises InputError where a dialogue does not fit the template or the model's length.
        """
        return self._written([self.template.prompt(messages) for messages in dialogues], sampling, tell, label)

    def _written(self, prompts: Sequence[Sequence[int]], sampling: Sampling, tell: Tell, label: str) -> Text:
        answers = self.engine.generate(prompts, sampling, tell, label)
        return Text(
            tuple(self._decode(answer.ids) for answer in answers),
            np.array([len(answer.ids) for answer in answers], dtype=np.int64),
            np.array([answer.finish == "stop" for answer in answers], dtype=np.bool_),
        )

    def answer_readable(
        self,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        context_tokens: int,
        tell: Tell = tell_nobody,
        label: str = "generating answers",
    ) -> tuple[list[int], Text]:
        """The numbers of the dialogues that can be answered, and the answers to them.

        A dialogue cannot be answered where it fills ``context_tokens``, all that the model can read, or where the template
        refuses it. Each answer has what room its own dialogue leaves: it is what it would be alone.
        """
        rooms: dict[int, dict[int, list[int]]] = defaultdict(dict)
        for number, messages in enumerate(dialogues):
            try:
                prompt = self.template.prompt(messages)
            except InputError:
                continue
            room = min(sampling.max_tokens, context_tokens - len(prompt))
            if room > 0:
                rooms[room][number] = prompt
        ordered = sorted(rooms.items(), reverse=True)
        numbers = [number for _, prompts in ordered for number in prompts]
        parts = [
            self._written(list(prompts.values()), replace(sampling, max_tokens=room), tell, label)
            for room, prompts in ordered
        ]
        return numbers, Text(
            tuple(text for part in parts for text in part.texts),
            np.concatenate([np.zeros(0, np.int64), *(part.num_tokens for part in parts)]),
            np.concatenate([np.zeros(0, np.bool_), *(part.stopped for part in parts)]),
        )

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """The same for one dialogue, in pieces of whole characters; closing the iterator cancels the answer."""
        return self.pieces(self.engine.stream(self.template.prompt(messages), sampling))

    def pieces(self, tokens: Iterator[int]) -> Iterator[str]:
        """Text as its tokens come. Together the pieces are what the tokens say at once.

        A window of the last tokens is decoded with and without the new one; what ends in the middle of a character waits.
        """
        ids: list[int] = []
        start = shown = 0
        try:
            for token in tokens:
                ids.append(token)
                before, after = self._decode(ids[start:shown]), self._decode(ids[start:])
                if len(after) > len(before) and not after.endswith("\N{REPLACEMENT CHARACTER}"):
                    yield after[len(before) :]
                    start, shown = shown, len(ids)
            rest = self._decode(ids[start:])[len(self._decode(ids[start:shown])) :]
            if rest:
                yield rest
        finally:
            if close := getattr(tokens, "close", None):
                close()

    def close(self) -> None:
        """Cancel what is under way and let go of the model."""
        self.engine.close()

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def open_conversation(
    folder: Path, *, capacity: int = 16, dtype: str = "fp32", device: str = "cpu", num_threads: int | None = None
) -> Conversation:
    """A conversation with the model in a transformers folder.

    ``num_threads`` is how many cores one operation may use, in the whole process. Raises InputError if the folder is not a
    model that generates text.
    """
    import torch

    from tunewright.infer.engine.local import Local
    from tunewright.infer.load import load_language_model, load_tokenizer

    if num_threads is not None:
        torch.set_num_threads(num_threads)
    tokenizer = load_tokenizer(folder)
    template = ChatTemplate.of(folder, tokenizer)
    model = load_language_model(folder).to(device)
    engine = Local(model, template.stop_ids, Local.Config(capacity=capacity), dtype=dtype)
    return Conversation(engine, template, tokenizer)
