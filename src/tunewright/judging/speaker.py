"""A language model before its judges: the likelihood of given dialogues, and answers of its own to given prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunewright.adapt.dialogue_encoder import weigh
from tunewright.adapt.language import LanguageModel
from tunewright.evaluate.retention import general_text
from tunewright.infer.conversation import Conversation
from tunewright.infer.engine.local import Local
from tunewright.infer.load import load_language_model, load_tokenizer
from tunewright.infer.predict import predict_logits
from tunewright.infer.template import ChatTemplate
from tunewright.types import Example, Likelihood, Sampling, Tell, Text

Message = Mapping[str, Any]
MakeTemplate = Callable[[Path, Any], Any]

Learnt = Callable[[Sequence[Message]], set[int]]
"""Which turns of a dialogue count, by their number."""


@dataclass
class Reader:
    """A stock model in fp32, as it will be served, with its tokenizer and its template; each loaded when first asked for."""

    folder: Path
    tell: Tell
    make_template: MakeTemplate = ChatTemplate.for_training

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the model."""
        return load_tokenizer(self.folder)

    @cached_property
    def template(self) -> Any:
        """The form in which the model reads a row."""
        return self.make_template(self.folder, self.tokenizer)

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model itself."""
        self.tell("loading the model", 0, None, self.folder.name)
        return load_language_model(self.folder)


@dataclass(frozen=True)
class Speaker:
    """A model that can read ``context_tokens``; ``shots`` are dialogues that it is shown before each one."""

    name: str
    reader: Reader
    context_tokens: int
    shots: Sequence[Sequence[Message]] = ()

    def likelihood(self, dialogues: Sequence[Sequence[Message]], learnt: Learnt, what: str) -> Likelihood:
        """Nats of the turns of each dialogue that are ``learnt``; ``what`` names the dialogues while they are read."""
        examples = [self._example(messages, learnt(messages)) for messages in dialogues]
        return self._measure(examples, f"{self.name}: reading {what}")

    def answers(self, prompts: Sequence[Sequence[Message]], sampling: Sampling) -> Text:
        """What the model says next in each dialogue; nothing where it cannot read the dialogue."""
        shown = [self._shown(messages) for messages in prompts]
        engine = Local(self.reader.model, stop_ids=self.reader.template.stop_ids)
        try:
            conversation = Conversation(engine, self.reader.template, self.reader.tokenizer)
            label = f"{self.name}: answering"
            numbers, said = conversation.answer_readable(shown, sampling, self.context_tokens, self.reader.tell, label)
        finally:
            engine.close()
        texts, num_tokens = [""] * len(shown), np.zeros(len(shown), np.int64)
        stopped = np.zeros(len(shown), np.bool_)
        for at, number in enumerate(numbers):
            texts[number], num_tokens[number], stopped[number] = said.texts[at], said.num_tokens[at], said.stopped[at]
        return Text(tuple(texts), num_tokens, stopped)

    def general(self, language: str) -> tuple[float, int]:
        """Nats and number of tokens of the general text of a language."""
        ids = self.reader.tokenizer(general_text(language))["input_ids"][: self.context_tokens]
        examples = [Example(ids, [0.0] + [1.0] * (len(ids) - 1))]
        found = self._measure(examples, f"{self.name}: reading a general text")
        return float(found.nll[0]), int(found.num_tokens[0])

    def _measure(self, examples: Sequence[Example], label: str) -> Likelihood:
        weights = [torch.tensor(each.target) for each in examples]
        ids = [each.ids for each in examples]
        model = LanguageModel(self.reader.model)
        outputs = predict_logits(model, ids, weights=weights, tell=self.reader.tell, label=label).reshape(-1, 2)
        return Likelihood(outputs[:, 0], outputs[:, 1].astype(np.int64))

    def _example(self, messages: Sequence[Message], learnt: set[int]) -> Example:
        """The dialogue after the shots; only its own answers count."""
        shown = self._shown(messages)
        chat = self.reader.template.encode(shown, self.reader.tokenizer)
        weights = weigh(chat, learnt, first=len(shown) - len(messages))
        limit = self.context_tokens  # not that of training: every system reads the same text, whole
        return Example(chat.ids[:limit], weights[:limit])

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        """The shots between the system message, if there is one, and the rest."""
        opening = [message for message in messages[:1] if message["role"] == "system"]
        shots = [message for shot in self.shots for message in shot if message["role"] != "system"]
        return [*opening, *shots, *messages[len(opening) :]]
