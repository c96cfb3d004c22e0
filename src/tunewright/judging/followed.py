"""What is followed while a model is trained, and what its training tells the judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
from tunewright.evaluate.score import choose_primary, fitting_metrics, metric_named, score
from tunewright.evaluate.threshold import choose_thresholds
from tunewright.infer.predict import predict_logits
from tunewright.train.batches import Examples
from tunewright.types import Answer, Choice, Dataset, Floats, Label, Labels, Likelihood, Spans, Text

CHEAP = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "log_loss",
    "subset_accuracy",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "preference_margin",
)
"""Metrics that are followed during training, beside the declared one."""

Following = tuple[Callable[[Floats], Mapping[str, float | None]], Choice, bool]
"""What is followed during training: a function from outputs[N, C] to metrics, the declared metric, its direction."""


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
        kept_loss=_loss_around(steps, _best_of(evaluations, higher_is_better)),
        seconds_per_example=seconds_per_example(steps),
    )


def _best_of(evaluations: Sequence[Mapping[str, Any]], higher_is_better: bool) -> Mapping[str, Any] | None:
    """The evaluation whose weights were kept: the first of the best."""
    known = [each for each in evaluations if each["value"] is not None]
    choose = max if higher_is_better else min
    return choose(known, key=lambda each: float(each["value"])) if known else None


def _loss_around(steps: Sequence[Mapping[str, Any]], kept: Mapping[str, Any] | None) -> float | None:
    """The training loss half an epoch to either side of an evaluation, every token counted once: all rows are in it."""
    if kept is None:
        return None
    near = [
        (float(step["loss"]), int(step["num_tokens"]))
        for step in steps
        if step["loss"] is not None and -0.5 < float(step["epoch"]) - float(kept["epoch"]) <= 0.5
    ]
    num_tokens = sum(count for _, count in near)
    return sum(loss * count for loss, count in near) / num_tokens if num_tokens else None


def seconds_per_example(steps: Sequence[Mapping[str, Any]]) -> float:
    """The median time of a step over its rows; evaluations and restarts between steps do not move a median."""
    times = [datetime.fromisoformat(str(step["time"])) for step in steps]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    rates = [gap / max(1, int(step["num_examples"])) for gap, step in zip(gaps, steps[1:], strict=True)]
    return float(np.median(rates)) if rates else 0.0


def validation_score(task: Any, dataset: Dataset, requested: str) -> Following:
    """What is followed while this task is trained; ``requested`` is ``evaluate.metric``."""
    gold: Any = task.gold(dataset.table("validation"))
    if isinstance(gold, Text):
        return _likelihood_score(task)
    if isinstance(gold, Spans):
        _require_spans(task, dataset)
    declared, higher_is_better = declared_metric(task, dataset, requested)
    names = fitting_metrics([str(declared.value), *CHEAP], gold)

    def scored(logits: Floats) -> Mapping[str, float | None]:
        return score(task.decode(logits), gold, names)

    return scored, declared, higher_is_better


def _require_spans(task: Any, dataset: Dataset) -> None:
    """Raise InputError before anything is trained for a split in which there is nothing to find."""
    for split, count in dataset.splits.items():
        if count and not any(task.gold(dataset.table(split)).found):
            raise InputError(
                f"there are no labelled spans in the {split} rows",
                where=", ".join(file.path for file in dataset.files) or "data",
                given=f"{count:,} rows, 0 spans",
                allowed="rows of which some have spans",
                hint=f"more rows with spans, or data.{split}=0.3" if split != "train" else "data.path=FILE",
            )


def _likelihood_score(task: Any) -> Following:
    """Text is followed by how well it is predicted: generating it at every evaluation would take longer than training."""
    reason = "how well held-out answers are predicted; what is generated is judged at the end"

    def scored(outputs: Floats) -> Mapping[str, float | None]:
        given: Likelihood = task.decode(outputs)
        nll = float(given.nll.sum() / max(1, int(given.num_tokens.sum())))
        return {"nll_per_token": nll, "perplexity": math.exp(min(nll, 700.0))}

    return scored, Choice("train.followed_metric", "nll_per_token", reason), False


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
    chosen, _ = choose_thresholds(answer, gold, metric, config.refuse_share)
    return chosen
