"""A model tuned to preferences before its judges: which of two answers leads, and what it answers itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunewright import extensions
from tunewright.adapt.dialogue import split_last
from tunewright.adapt.pairs import PairModel
from tunewright.adapt.preference_encoder import PreferenceEncoder
from tunewright.evaluate.preferences import evaluate_preferences
from tunewright.evaluate.retention import retention
from tunewright.evaluate.verdict import UNTOUCHED_BASE
from tunewright.infer.predict import predict_logits
from tunewright.judging.case import Case
from tunewright.judging.followed import curves_of, declared_metric
from tunewright.judging.speaker import Reader, Speaker
from tunewright.model.inspect import read_max_positions
from tunewright.train.batches import read_examples, token_weights
from tunewright.types import Floats, Ints, Preferred, Report, Retention, Tell, Text

LENGTH = "answer_length"


def judge_preferences(case: Case) -> Report:
    """The Report on a model tuned to preferences."""
    task, config, context = case.task, case.recipe.evaluate, case.base.max_positions
    base, tuned = (
        Speaker(name, Reader(folder, case.tell, task.template), context)
        for name, folder in (("untouched base", case.base.folder), ("tuned model", case.model))
    )

    def table(split: str) -> Any:
        return case.dataset.table(split)

    @cache
    def read(split: str, who: str) -> Floats:
        """Log-probabilities and tokens of both answers, [N, 6], as one of both models reads them."""
        speaker = tuned if who == "tuned" else base
        examples = read_examples(case.encoded, split)
        label = f"{speaker.name}: reading both answers of the {split} rows"
        model = PairModel(speaker.reader.model)
        return predict_logits(model, examples.ids, weights=token_weights(examples), tell=case.tell, label=label)

    def by_reward(split: str) -> Preferred:
        found = read(split, "tuned").copy()
        found[:, 4:] = read(split, "base")[:, :2]
        leads: Preferred = task.decode(found)
        return leads

    def by_likelihood(split: str) -> Preferred:
        means = read(split, "base")[:, :2] / np.maximum(read(split, "base")[:, 2:4], 1)
        return Preferred(means[:, 0] - means[:, 1])

    def by_length(split: str) -> Preferred:
        leads: Preferred = length.predict(*_answers(table(split)))
        return leads

    made: Any = extensions.load("evaluate.baseline", LENGTH)
    length = made(seed=config.seed)
    length.fit(*_answers(table("train")))
    test = [split_last(messages)[0] for messages in task.dialogues(table("test"))]

    def retained(language: str) -> Retention | None:
        (before, num_tokens), (after, _) = base.general(language), tuned.general(language)
        return retention(before, after, num_tokens)

    references = tuple(_answers(table("test"))[0])
    counts = [len(ids) for ids in base.reader.tokenizer(list(references), add_special_tokens=False)["input_ids"]]
    return evaluate_preferences(
        config,
        systems={"tuned": by_reward, UNTOUCHED_BASE: by_likelihood, LENGTH: by_length},
        written={"tuned": _writer(tuned, test, case), UNTOUCHED_BASE: _writer(base, test, case)},
        gold=lambda split: task.gold(table(split)),
        references=Text(references, np.array(counts, dtype=np.int64), np.ones(len(references), np.bool_)),
        prompts=["\n".join(f"{each['role']}: {each['content']}" for each in messages) for messages in test],
        metrics=task.metrics,
        curves=curves_of(case.events, declared_metric(task, case.dataset, config.metric)[1]),
        command=case.command,
        run=case.run,
        tell=case.tell,
        retention=retained,
    )


def prefers(task: Any, model: Path, rows: Any, tell: Tell) -> Preferred | None:
    """Which answer a model finds likelier by token, where its task is to prefer one; another base may stand behind a rival."""
    if not isinstance(task.gold(rows), Preferred):
        return None
    reader = Reader(model, tell, task.template)
    encoder = PreferenceEncoder(task, reader.template)
    limit = read_max_positions(model)
    examples = [one if len(one.ids) <= limit else encoder.cut(one, limit) for one in encoder.encode(rows)]
    weights = [torch.tensor(one.target) for one in examples]
    found = predict_logits(PairModel(reader.model), [one.ids for one in examples], weights=weights, tell=tell)
    means = found.reshape(-1, 6)[:, :2] / found.reshape(-1, 6)[:, 2:4].clip(min=1)
    return Preferred(means[:, 0] - means[:, 1])


def _answers(rows: Any) -> tuple[list[str], list[str]]:
    return rows["chosen"].to_pylist(), rows["rejected"].to_pylist()


def _writer(speaker: Speaker, prompts: list[Any], case: Case) -> Callable[[Ints], Text]:
    return lambda rows: speaker.answers([prompts[row] for row in rows], case.recipe.evaluate.sampling)
