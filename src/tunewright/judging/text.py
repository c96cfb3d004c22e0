"""A tuned language model judged: likelihoods of the held-out answers, and answers of its own.

The tuned model, its untouched base, and the base with a few training dialogues before each question read the same dialogues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tunewright.adapt.dialogue import split_last
from tunewright.evaluate.few_shot import choose_examples
from tunewright.evaluate.opponents import choose_writers, copies
from tunewright.evaluate.retention import retention
from tunewright.evaluate.text import evaluate_text
from tunewright.judging.case import Case
from tunewright.judging.followed import curves_of
from tunewright.judging.speaker import Reader, Speaker
from tunewright.types import Ints, Likelihood, Report, Retention, Text

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Witness:
    """A Speaker that is asked about the splits of a case."""

    case: Case
    speaker: Speaker

    def likelihood(self, split: str) -> Likelihood:
        """Nats of the supervised turns of each dialogue, in the split's order."""
        return self.speaker.likelihood(
            _dialogues(self.case, split), self.case.task.learnt, f"the {split} {self.case.task.noun}"
        )

    def answers(self, split: str, rows: Ints) -> Text:
        """The last answer of some dialogues, written by the model."""
        return self.speaker.answers(_prompts(self.case, split, rows), self.case.recipe.evaluate.sampling)


def judge_text(case: Case) -> Report:
    """The Report on a tuned language model."""
    config = case.recipe.evaluate
    context = case.base.max_positions
    template = case.task.template
    base = Speaker("untouched base", Reader(case.base.folder, case.tell, template), context)
    tuned = Speaker("tuned model", Reader(case.model, case.tell, template), context)
    speakers = {"tuned": tuned, "untouched_base": base}
    shots = choose_shots(case, base) if config.few_shot and case.task.has_shots else []
    if shots:
        speakers["few_shot"] = replace(base, name="prompted base", shots=shots)
    test = np.arange(case.dataset.splits["test"])
    texts = {split: [_parts(case, messages) for messages in _dialogues(case, split)] for split in case.dataset.splits}

    def retained(language: str) -> Retention | None:
        (before, num_tokens), (after, _) = base.general(language), tuned.general(language)
        return retention(before, after, num_tokens)

    names = choose_writers(config.baselines, case.task.baselines)
    sources = {split: case.task.sources(case.dataset.table(split)) for split in ("train", "test")} if names else {}
    references = case.task.gold(case.dataset.table("train")).texts if names else ()
    copied = {name: copies(name, sources, references, config.seed) for name in names}
    return evaluate_text(
        config,
        systems={name: Witness(case, speaker) for name, speaker in speakers.items()},
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
        metrics=case.task.metrics,
        copied=copied,
        noun=case.task.noun,
        finishes=case.task.finishes,
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
    parts = [(str(message["content"]), index in learnt) for index, message in enumerate(messages)]
    if all(wanted for _, wanted in parts):  # one text in pieces has one end
        return [("".join(text for text, _ in parts), True)]
    return parts


def _gold(case: Case, base: Speaker) -> Text:
    """The references of the test dialogues, with their lengths in tokens."""
    gold: Text = case.task.gold(case.dataset.table("test"))
    counts = [len(ids) for ids in base.reader.tokenizer(list(gold.texts), add_special_tokens=False)["input_ids"]]
    return Text(gold.texts, np.array(counts, dtype=np.int64), gold.stopped)
