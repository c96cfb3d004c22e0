"""The numbers of one system: every metric, its interval, and the table by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright import extensions
from tunewright.errors import InputError
from tunewright.evaluate.metric.base import MetricBase, indicators, precision, recall
from tunewright.evaluate.metric.base import f1 as f1_of
from tunewright.evaluate.resample import (
    Observed,
    affordable_resamples,
    bootstrap,
    percentile_interval,
    wilson_interval,
)
from tunewright.types import Answer, Choice, Classified, Labels, Measure, Preferred, Spans
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.types import Floats

FAMILY = "evaluate.metric"
IMBALANCED = 3.0
"""Classes are imbalanced when the largest has more than this many times the rows of the smallest."""


class ForeignMetric(MetricBase):
    """A third party's metric that has only the methods of the Protocol: resampled one weighting at a time."""

    max_resamples = 1_000

    def __init__(self, metric: Any) -> None:
        """Wrap ``metric``."""
        self._metric = metric
        self.accepts = metric.accepts

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """The wrapped metric's statistics[N, K]."""
        statistics: Floats = self._metric.observe(answer, gold)
        return statistics

    def values(self, statistics: Floats, weights: Floats) -> Floats:
        """The wrapped metric under each weighting[B, N], NaN where it says None."""
        numbers = [self._metric.value(statistics, row) for row in weights]
        return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)


def metric_named(name: str) -> Any:
    """The metric of this name. Raises InputError with the nearest name when there is none."""
    found = extensions.load(FAMILY, name)()
    return found if isinstance(found, MetricBase) else ForeignMetric(found)


def fitting_metrics(names: Sequence[str], gold: Answer) -> tuple[str, ...]:
    """Those of ``names`` that read this kind of answer, each once, in order."""
    return tuple(name for name in dict.fromkeys(names) if isinstance(gold, metric_named(name).accepts))


def choose_primary(requested: str, gold: Classified | Spans | Preferred) -> Choice:
    """The metric that decides: the one requested, or by the kind of answer and the balance of the training rows.

    Raises InputError where the metric requested does not read this kind of answer.
    """
    path = "evaluate.metric"
    if requested != "auto":
        if not fitting_metrics((requested,), gold):
            raise InputError(
                "this metric does not fit what is answered",
                where=path,
                given=requested,
                allowed=", ".join(fitting_metrics(extensions.names(FAMILY), gold)),
                hint=f"{path}=auto",
            )
        return Choice(path, requested, "asked for")
    if isinstance(gold, Preferred):
        return Choice(path, "preference_accuracy", "the better of two answers is to lead")
    if isinstance(gold, Spans):
        return Choice(path, "entity_f1", "a span is right where its ends and its label are")
    if isinstance(gold, Labels):
        return Choice(path, "micro_f1", "rows carry several labels")
    counts = dict(zip(gold.names, np.bincount(gold.chosen, minlength=len(gold.names)).tolist(), strict=True))
    if gold.out_of_scope is not None and not counts[gold.out_of_scope]:
        del counts[gold.out_of_scope]  # it needs no training row
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    most, least = counts[largest], counts[smallest]
    sizes = f"{largest} has {counted(most, 'training row')}, {smallest} {least:,}"
    if most == least:
        sizes = f"each has {counted(most, 'training row')}"
    if most > IMBALANCED * least:
        return Choice(path, "macro_f1", f"the labels are imbalanced: {sizes}")
    return Choice(path, "accuracy", f"the labels are balanced: {sizes}")


def score(answer: Answer, gold: Answer, names: Sequence[str]) -> dict[str, float | None]:
    """Each metric's value; None where it is undefined."""
    if isinstance(answer, Classified) and isinstance(gold, Classified):
        assert answer.names == gold.names, (answer.names, gold.names)
    return {name: _value(metric_named(name), answer, gold) for name in names}


def measure(
    answer: Answer, gold: Answer, names: Sequence[str], *, seed: int, num_resamples: int, share: float = 1.0
) -> tuple[Measure, ...]:
    """Each metric with its 95 % interval: Wilson's for shares of rows, else the percentile bootstrap over the same resamples."""
    metrics = {name: metric_named(name) for name in names}
    observed = {name: Observed(metric, metric.observe(answer, gold)) for name, metric in metrics.items()}
    values = {name: each.metric.value(each.statistics) for name, each in observed.items()}
    drawn = [name for name, metric in metrics.items() if values[name] is not None and not metric.is_share_of_rows]
    samples: dict[str, Floats] = {}
    for limit in sorted({metrics[name].max_resamples for name in drawn}):
        group = [name for name in drawn if metrics[name].max_resamples == limit]
        number = affordable_resamples(min(limit, num_resamples), len(gold))
        table = bootstrap([observed[name] for name in group], number, seed, share)
        samples.update({name: table[:, column] for column, name in enumerate(group)})
    return tuple(
        _measure(
            name,
            values[name],
            samples.get(name),
            metrics[name].num_rows(observed[name].statistics),
            share,
            _note(name, values[name], answer, gold),
        )
        for name in names
    )


def score_labels(answer: Classified, gold: Classified) -> dict[str, dict[str, float | None]]:
    """By label: precision, recall, f1, support (right rows), prevalence, roc_auc and pr_auc; None where undefined."""
    answered, right = indicators(answer), indicators(gold)
    counts = [block.sum(axis=0).astype(np.float64) for block in (answered & right, answered, right)]
    columns: dict[str, Floats] = {
        "precision": precision(*counts),
        "recall": recall(*counts),
        "f1": f1_of(*counts),
        "support": counts[2],
        "prevalence": counts[2] / max(1, len(gold)),
    }
    if answer.probabilities is not None and len(gold):
        for name in ("roc_auc", "pr_auc"):
            metric = metric_named(name)
            columns[name] = metric.per_label(metric.observe(answer, gold), np.ones((1, len(gold))))[0]
    return {
        label: {name: _or_none(column[index]) for name, column in columns.items()}
        for index, label in enumerate(gold.names)
    }


def better_first(names: Sequence[str], scores: Mapping[str, Mapping[str, float | None]], metric: str) -> list[str]:
    """``names`` by their score, the best first; ties keep their order and the undefined come last."""
    sign = 1.0 if metric_named(metric).higher_is_better else -1.0

    def rank(name: str) -> float:
        value = scores[name].get(metric)
        return float("inf") if value is None else -sign * value

    return sorted(names, key=rank)


def _value(metric: Any, answer: Answer, gold: Answer) -> float | None:
    number: float | None = metric.value(metric.observe(answer, gold))
    return number


def _measure(name: str, value: float | None, samples: Floats | None, num_rows: int, share: float, note: str) -> Measure:
    if value is None:
        return Measure(name=name, value=None, interval=None, num_rows=num_rows, method="undefined", note=note)
    interval: tuple[float, float] | None
    if samples is None:
        interval, method = wilson_interval(value, num_rows * share), "Wilson score interval"
    else:
        interval, method = percentile_interval(samples), f"percentile bootstrap, {len(samples):,} resamples of the rows"
    if share < 1.0:
        method += f", each row counted as {share:.2f}"
    return Measure(name=name, value=value, interval=interval, num_rows=num_rows, method=method, note=note)


def _note(name: str, value: float | None, answer: Answer, gold: Answer) -> str:
    if value is None and len(gold) == 0:
        return "there are no rows"
    if not isinstance(answer, Classified) or not isinstance(gold, Classified):
        return "undefined on these rows" if value is None else ""
    if value is None:
        needs = not metric_named(name).depends_on_threshold
        return (
            "the answers carry no probabilities"
            if needs and answer.probabilities is None
            else "undefined on these rows"
        )
    absent = int((~indicators(gold).any(axis=0)).sum())
    if absent and (name.startswith("macro_") or name in ("roc_auc", "pr_auc")):
        return f"{absent} of {len(gold.names)} labels have no row here"
    return ""


def _or_none(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
