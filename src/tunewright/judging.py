"""Where a tuned model meets its judges: what evaluate asks for, answered by the task, the data and the models.

Everything here is composition: evaluate is handed callables and records, and never learns what a task or a model is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from tunewright import extensions
from tunewright.config.base import AUTO
from tunewright.errors import InputError
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.evaluate import evaluate
from tunewright.evaluate.score import choose_primary, fitting_metrics, metric_named, score
from tunewright.evaluate.threshold import choose_thresholds
from tunewright.infer.predict import make_encoder, predict_logits
from tunewright.recipe import Recipe
from tunewright.seams import Encoder, Method
from tunewright.train import rows as embedding_rows
from tunewright.train.batches import Examples, read_examples
from tunewright.train.train import Fit, fit_quietly
from tunewright.types import (
    Answer,
    Likelihood,
    Text,
    Base,
    Choice,
    Classified,
    Dataset,
    Encoded,
    Floats,
    Ints,
    Label,
    Labels,
    Plan,
    Report,
    Tell,
)

CHEAP = ("accuracy", "macro_f1", "micro_f1", "log_loss", "subset_accuracy")
"""Metrics that are followed during training, beside the declared one."""


@dataclass
class Bench:
    """The tuned model with all that is needed to judge it. Splits are evaluated once and remembered."""

    task: Any
    dataset: Dataset
    encoded: Encoded
    base: Base
    plan: Plan
    recipe: Recipe
    module: torch.nn.Module
    tokenizer: Any
    load_base: Callable[[], torch.nn.Module]
    method: Method
    tell: Tell
    _answers: dict[str, Classified] = field(default_factory=dict)
    _embeddings: dict[str, Floats] = field(default_factory=dict)

    def answers(self, split: str) -> Classified:
        """What the tuned model says about a split, in fp32, as it will be served."""
        if split not in self._answers:
            self._answers[split] = self._answer(read_examples(self.encoded, split), split)
        return self._answers[split]

    def seen(self, rows: Ints) -> Classified:
        """What the tuned model says about some of the rows it was trained on."""
        return self._answer(read_examples(self.encoded, "train").take(rows), "train")

    def _answer(self, examples: Examples, split: str) -> Classified:
        logits = predict_logits(self.module, examples.ids, tell=self.tell, label=f"answering the {split} rows")
        answer: Classified = self.task.decode(logits)
        return answer

    def gold(self, split: str) -> Classified:
        """The right answers of a split."""
        right: Classified = self.task.gold(self.dataset.table(split))
        return right

    def texts(self, split: str) -> Sequence[str]:
        """The texts of a split."""
        texts: list[str] = self.task.texts(self.dataset.table(split))
        return texts

    def encoder(self) -> Encoder:
        """The untouched base as an encoder; each text is embedded once. The base is loaded at the first call."""
        encode: Encoder | None = None

        def remembered(texts: Sequence[str]) -> Floats:
            nonlocal encode
            missing = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
            if missing:
                if encode is None:
                    dtype = str(self.plan["train.dtype"])
                    encode = make_encoder(self.load_base(), self.tokenizer, self.encoded.max_length, dtype, self.tell)
                self._embeddings.update(zip(missing, encode(missing), strict=True))
            return np.stack([self._embeddings[text] for text in texts])

        return remembered

    def refit(self, train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        """A fresh model tuned on some of all rows (train, validation, test in this order), asked about others."""
        module: Any = self.task.attach(self.base, self.recipe.seed + repeat)
        occurring = embedding_rows.rows_that_occur(self.encoded, self.encoded.splits)
        compaction = embedding_rows.compact(module, occurring)
        rows = all_examples(self.encoded, compaction.remap if compaction else None)
        fit = Fit(
            trainable=self.method.wrap(module, self.task.objective()),
            plan=self.plan,
            config=self.recipe.train,
            seed=self.recipe.seed + repeat,
        )
        fit_quietly(fit, rows.take(train_rows), self.tell, "tuning for out-of-fold answers")
        logits = predict_logits(fit.trainable.module, rows.take(test_rows).ids)
        answer: Classified = self.task.decode(logits)
        return answer


def all_examples(encoded: Encoded, remap: Ints | None) -> Examples:
    """The examples of every split laid end to end."""
    parts = [read_examples(encoded, split, remap) for split in encoded.splits]
    return Examples(
        [ids for part in parts for ids in part.ids],
        torch.cat([part.targets for part in parts]),
        np.concatenate([part.row_ids for part in parts]),
    )


def judge(bench: Bench, *, events: Sequence[Mapping[str, Any]], command: str, folder: str) -> Report:
    """The Report on a tuned model; ``events`` are those of its training, ``command`` the one that repeats the run."""
    return evaluate(
        bench.recipe.evaluate,
        answers=bench.answers,
        seen=bench.seen,
        gold=bench.gold,
        texts=bench.texts,
        metrics=bench.task.metrics,
        baselines=bench.task.baselines,
        encoder=bench.encoder(),
        refit=bench.refit,
        curves=curves_of(events, declared_metric(bench.task, bench.dataset, bench.recipe.evaluate.metric)[1]),
        command=command,
        run=folder,
        tell=bench.tell,
    )


def check_names(config: Evaluate.Config) -> None:
    """Raise InputError with the nearest name for a metric or a baseline that does not exist."""
    for family, names, where in (
        ("evaluate.metric", [config.metric] if config.metric != AUTO else [], "evaluate.metric"),
        ("evaluate.baseline", config.baselines if config.baselines != AUTO else [], "evaluate.baselines"),
    ):
        for name in names:
            extensions.check(family, name, where=where, otherwise=f"{where}=auto")


def curves_of(events: Sequence[Mapping[str, Any]], higher_is_better: bool) -> Curves:
    """The training's events as the plain sequences that the diagnosis reads."""
    steps = [event for event in events if event["kind"] == "step"]
    evaluations = [event for event in events if event["kind"] == "evaluation"]
    return Curves(
        train_loss=tuple(float(step["loss"]) for step in steps if step["loss"] is not None),
        validation_metric=tuple(float(each["value"]) for each in evaluations if each["value"] is not None),
        higher_is_better=higher_is_better,
        epochs=float(steps[-1]["epoch"]) if steps else 0.0,
        seconds_per_example=seconds_per_example(steps),
    )


def seconds_per_example(steps: Sequence[Mapping[str, Any]]) -> float:
    """The median time of a step over its rows; evaluations and restarts between steps do not move a median."""
    times = [datetime.fromisoformat(str(step["time"])) for step in steps]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    rates = [gap / max(1, int(step["num_examples"])) for gap, step in zip(gaps, steps[1:], strict=True)]
    return float(np.median(rates)) if rates else 0.0


def validation_score(
    task: Any, dataset: Dataset, requested: str
) -> tuple[Callable[[Floats], Mapping[str, float | None]], Choice, bool]:
    """What is followed during training: a function from outputs[N, C] to metrics, the declared metric, its direction."""
    gold: Answer = task.gold(dataset.table("validation"))
    if isinstance(gold, Text):
        return _likelihood_score(task, requested)
    declared, higher_is_better = declared_metric(task, dataset, requested)
    names = fitting_metrics([str(declared.value), *CHEAP], gold)

    def scored(logits: Floats) -> Mapping[str, float | None]:
        return score(task.decode(logits), gold, names)

    return scored, declared, higher_is_better


def _likelihood_score(task: Any, requested: str) -> tuple[Callable[[Floats], Mapping[str, float | None]], Choice, bool]:
    """Text is followed by how well it is predicted: generating it at every evaluation would take longer than training."""
    if requested not in (AUTO, "nll_per_token"):
        raise InputError(
            "this metric cannot be followed while text is learnt",
            where="evaluate.metric",
            given=requested,
            allowed="nll_per_token",
            hint="evaluate.metric=auto",
        )
    reason = "how well held-out answers are predicted; what is generated is judged at the end"

    def scored(outputs: Floats) -> Mapping[str, float | None]:
        given: Likelihood = task.decode(outputs)
        nll = float(given.nll.sum() / max(1, int(given.num_tokens.sum())))
        return {"nll_per_token": nll, "perplexity": math.exp(min(nll, 700.0))}

    return scored, Choice("evaluate.metric", "nll_per_token", reason), False


def declared_metric(task: Any, dataset: Dataset, requested: str) -> tuple[Choice, bool]:
    """The metric that decides, and whether higher is better."""
    declared = choose_primary(requested, task.gold(dataset.table("train")))
    return declared, bool(metric_named(str(declared.value)).higher_is_better)


def decision_thresholds(
    task: Any, dataset: Dataset, module: torch.nn.Module, validation: Examples, metric: str, config: Evaluate.Config
) -> dict[str, float]:
    """The thresholds that the tuned model answers with, chosen on the validation rows; none for text."""
    gold: Answer = task.gold(dataset.table("validation"))
    if config.thresholds == "off" or not isinstance(gold, Label | Labels):
        return {}
    answer: Label | Labels = task.decode(predict_logits(module, validation.ids))
    chosen, _ = choose_thresholds(answer, gold, metric)
    return chosen
