"""A tuned language model before its judges: likelihoods of the held-out answers, and answers of its own.

The tuned model, its untouched base, and the base with a few training dialogues before each question read the same dialogues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunewright.adapt.dialogue import split_last, weigh
from tunewright.adapt.language import LanguageModel
from tunewright.evaluate.few_shot import choose_examples
from tunewright.evaluate.retention import general_text, retention
from tunewright.evaluate.text import evaluate_text
from tunewright.infer.conversation import Conversation
from tunewright.infer.engine.local import Local
from tunewright.infer.load import load_language_model, load_tokenizer
from tunewright.infer.predict import predict_logits
from tunewright.infer.template import ChatTemplate
from tunewright.judging.case import Case
from tunewright.judging.followed import curves_of
from tunewright.types import Example, Ints, Likelihood, Report, Retention, Sampling, Tell, Text

Message = Mapping[str, Any]


@dataclass
class Reader:
    """A stock model in fp32, as it will be served, with its tokenizer and its template; each loaded when first asked for."""

    folder: Path
    tell: Tell

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the model."""
        return load_tokenizer(self.folder)

    @cached_property
    def template(self) -> ChatTemplate:
        """The template of the model."""
        return ChatTemplate.for_training(self.folder, self.tokenizer)

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model itself."""
        self.tell("loading the model", 0, None, self.folder.name)
        return load_language_model(self.folder)


@dataclass(frozen=True)
class Speaker:
    """A model that is judged; ``shots`` are dialogues that it is shown before each one."""

    case: Case
    name: str
    reader: Reader
    shots: Sequence[Sequence[Message]] = ()

    def likelihood(self, split: str) -> Likelihood:
        """Nats of the supervised turns of each dialogue, in the split's order."""
        examples = [self._example(messages) for messages in _dialogues(self.case, split)]
        return self._measure(examples, f"{self.name}: reading the {split} dialogues")

    def answers(self, split: str, rows: Ints) -> Text:
        """The last answer of some dialogues, written by the model."""
        prompts = [self._shown(messages) for messages in _prompts(self.case, split, rows)]
        longest = max(len(self.reader.template.prompt(prompt)) for prompt in prompts)
        room = self.case.base.max_positions - longest
        sampling = Sampling(max_tokens=max(1, min(self.case.recipe.evaluate.max_new_tokens, room)))
        engine = Local(self.reader.model, stop_ids=self.reader.template.stop_ids)
        try:
            conversation = Conversation(engine, self.reader.template, self.reader.tokenizer)
            return conversation.answer(prompts, sampling, self.case.tell, f"{self.name}: answering")
        finally:
            engine.close()

    def general(self, language: str) -> tuple[float, int]:
        """Nats and number of tokens of the general text of a language."""
        ids = self.reader.tokenizer(general_text(language))["input_ids"][: self.case.base.max_positions]
        examples = [Example(ids, [0.0] + [1.0] * (len(ids) - 1))]
        found = self._measure(examples, f"{self.name}: reading a general text")
        return float(found.nll[0]), int(found.num_tokens[0])

    def _measure(self, examples: Sequence[Example], label: str) -> Likelihood:
        weights = [torch.tensor(each.target) for each in examples]
        ids = [each.ids for each in examples]
        outputs = predict_logits(
            LanguageModel(self.reader.model), ids, weights=weights, tell=self.case.tell, label=label
        )
        found: Likelihood = self.case.task.decode(outputs)
        return found

    def _example(self, messages: Sequence[Message]) -> Example:
        """The dialogue after the shots; only its own answers count."""
        shown = self._shown(messages)
        chat = self.reader.template.encode(shown, self.reader.tokenizer)
        weights = weigh(chat, self.case.task.learnt(messages), first=len(shown) - len(messages))
        limit = self.case.base.max_positions  # not that of training: every system reads the same text, whole
        return Example(chat.ids[:limit], weights[:limit])

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        """The shots between the system message, if there is one, and the rest."""
        opening = [message for message in messages[:1] if message["role"] == "system"]
        shots = [message for shot in self.shots for message in shot if message["role"] != "system"]
        return [*opening, *shots, *messages[len(opening) :]]


def judge_text(case: Case) -> Report:
    """The Report on a tuned language model."""
    config = case.recipe.evaluate
    base = Speaker(case, "untouched base", Reader(case.base.folder, case.tell))
    tuned = Speaker(case, "tuned model", Reader(case.model, case.tell))
    systems: dict[str, Speaker] = {"tuned": tuned, "untouched_base": base}
    shots = choose_shots(case, base) if config.few_shot else []
    if shots:
        systems["few_shot"] = Speaker(case, "prompted base", base.reader, shots)
    test = np.arange(case.dataset.splits["test"])
    texts = {split: [_parts(case, messages) for messages in _dialogues(case, split)] for split in case.dataset.splits}

    def retained(language: str) -> Retention | None:
        (before, num_tokens), (after, _) = base.general(language), tuned.general(language)
        return retention(before, after, num_tokens)

    return evaluate_text(
        config,
        systems=systems,
        gold=_gold(case, base),
        prompts=["\n".join(f"{each['role']}: {each['content']}" for each in p) for p in _prompts(case, "test", test)],
        train_texts=texts["train"],
        validation_texts=texts["validation"],
        test_texts=texts["test"],
        curves=curves_of(case.events, higher_is_better=False),
        command=case.command,
        run=case.run,
        tell=case.tell,
        retention=retained,
    )


def choose_shots(case: Case, base: Speaker) -> list[list[Message]]:
    """The training dialogues that the prompted base is shown: different questions, short enough to leave room."""
    dialogues = _dialogues(case, "train")
    openings = [next(each["content"] for each in messages if each["role"] == "user") for messages in dialogues]
    counts = [len(base.reader.template.encode(messages, base.reader.tokenizer).ids) for messages in dialogues]
    room = (case.base.max_positions - case.encoded.max_length - case.recipe.evaluate.max_new_tokens) // 2
    chosen = choose_examples(openings, counts, case.recipe.evaluate.few_shot, max(0, min(room, 1024)))
    return [_with_answer(dialogues[row]) for row in chosen]


def _with_answer(messages: Sequence[Message]) -> list[Message]:
    """A dialogue up to its last answer: what follows would leave a question open."""
    before, _ = split_last(messages)
    return list(messages[: len(before) + 1])


def _dialogues(case: Case, split: str) -> list[list[Message]]:
    found: list[list[Message]] = case.task.dialogues(case.dataset.table(split))
    return found


def _prompts(case: Case, split: str, rows: Ints) -> list[list[Message]]:
    return [split_last(messages)[0] for messages in case.task.dialogues(case.dataset.table(split).take(rows))]


def _parts(case: Case, messages: Sequence[Message]) -> list[tuple[str, bool]]:
    """The dialogue in parts, each with whether it is an answer to predict."""
    learnt = case.task.learnt(messages)
    return [(str(message["content"]), index in learnt) for index, message in enumerate(messages)]


def _gold(case: Case, base: Speaker) -> Text:
    """The references of the test dialogues, with their lengths in tokens."""
    gold: Text = case.task.gold(case.dataset.table("test"))
    counts = [len(ids) for ids in base.reader.tokenizer(list(gold.texts), add_special_tokens=False)["input_ids"]]
    return Text(gold.texts, np.array(counts, dtype=np.int64), gold.stopped)
