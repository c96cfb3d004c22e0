"""Every metric against scikit-learn on random answers, against itself under repetition, and at its edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tunewright import extensions
from tunewright.evaluate.metric.base import MetricBase
from tunewright.evaluate.score import measure, metric_named, score, score_labels
from tunewright.types import Classified, Floats, Label, Labels

NAMES = ("a", "b", "c", "d", "e")


def single(seed: int, num_rows: int = 300, num_labels: int = 4, coarse: bool = False) -> tuple[Label, Label]:
    """Answers that are right more often than not, over a schema of which the last label never occurs if there are five."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, min(num_labels, 4), num_rows)
    probabilities = rng.dirichlet(np.full(num_labels, 0.7), num_rows)
    probabilities[np.arange(num_rows), right] += 0.3
    if num_labels > 4:
        probabilities[:, 4] = 0.0
    if coarse:
        probabilities = np.round(probabilities, 1) + 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = NAMES[:num_labels]
    return Label(names, probabilities.argmax(axis=1), probabilities), Label(names, right)


def several(seed: int, num_rows: int = 250, num_labels: int = 4) -> tuple[Labels, Labels]:
    rng = np.random.default_rng(seed)
    right = rng.random((num_rows, num_labels)) < np.linspace(0.1, 0.6, num_labels)
    probabilities = np.clip(0.5 * right + rng.random((num_rows, num_labels)) * 0.6, 0.0, 1.0)
    names = NAMES[:num_labels]
    return Labels(names, probabilities >= 0.5, probabilities), Labels(names, right)


def ece_by_hand(answer: Label, gold: Label) -> float:
    """torchmetrics' convention: 15 bins (low, high], L1, top label."""
    assert answer.probabilities is not None
    confidence, chosen = answer.probabilities.max(axis=1), answer.probabilities.argmax(axis=1)
    result = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = abs((chosen == gold.chosen)[inside].mean() - confidence[inside].mean())
            result += inside.mean() * gap
    return result


def macro_ovr(function: Callable[..., float], answer: Label, gold: Label) -> float:
    assert answer.probabilities is not None
    columns = range(len(gold.names))
    return float(np.mean([function(gold.chosen == c, answer.probabilities[:, c]) for c in columns]))


def average(kind: str, function: Callable[..., float]) -> Callable[[Any, Any], float]:
    return lambda a, g: function(g.chosen, a.chosen, average=kind, zero_division=0)


SINGLE: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda a, g: oracle.accuracy_score(g.chosen, a.chosen),
    "macro_f1": average("macro", oracle.f1_score),
    "micro_f1": average("micro", oracle.f1_score),
    "weighted_f1": average("weighted", oracle.f1_score),
    "macro_precision": average("macro", oracle.precision_score),
    "micro_precision": average("micro", oracle.precision_score),
    "weighted_precision": average("weighted", oracle.precision_score),
    "macro_recall": lambda a, g: oracle.balanced_accuracy_score(g.chosen, a.chosen),
    "micro_recall": average("micro", oracle.recall_score),
    "weighted_recall": average("weighted", oracle.recall_score),
    "mcc": lambda a, g: oracle.matthews_corrcoef(g.chosen, a.chosen),
    "roc_auc": lambda a, g: macro_ovr(oracle.roc_auc_score, a, g),
    "pr_auc": lambda a, g: macro_ovr(oracle.average_precision_score, a, g),
    "log_loss": lambda a, g: oracle.log_loss(g.chosen, a.probabilities, labels=range(len(g.names))),
    "brier": lambda a, g: oracle.brier_score_loss(
        g.chosen, a.probabilities[:, 1] if len(g.names) == 2 else a.probabilities, labels=range(len(g.names))
    ),
    "ece": ece_by_hand,
}

SCOPE: dict[str, Callable[[Any, Any], float]] = {
    "in_scope_accuracy": lambda a, g: oracle.accuracy_score(g.chosen[inside(g)], a.chosen[inside(g)]),
    "in_scope_refused": lambda a, g: 1 - oracle.recall_score(inside(g), inside(Label(a.names, a.chosen))),
    "out_of_scope_recall": lambda a, g: oracle.recall_score(~inside(g), ~inside(Label(a.names, a.chosen))),
    "out_of_scope_auroc": lambda a, g: oracle.roc_auc_score(inside(g), a.probabilities[:, [0, 2, 3]].max(axis=1)),
}
"""The label ``b`` stands for what is out of scope."""


def inside(answer: Label) -> Any:
    return answer.chosen != NAMES.index("b")


SEVERAL: dict[str, Callable[[Any, Any], float]] = {
    "subset_accuracy": lambda a, g: oracle.accuracy_score(g.chosen, a.chosen),
    "hamming_loss": lambda a, g: oracle.hamming_loss(g.chosen, a.chosen),
    **{
        f"{kind}_{name}": average(kind, function)
        for kind in ("micro", "macro", "weighted")
        for name, function in (
            ("f1", oracle.f1_score),
            ("precision", oracle.precision_score),
            ("recall", oracle.recall_score),
        )
    },
    "roc_auc": lambda a, g: oracle.roc_auc_score(g.chosen, a.probabilities, average="macro"),
    "pr_auc": lambda a, g: oracle.average_precision_score(g.chosen, a.probabilities, average="macro"),
    "log_loss": lambda a, g: np.mean(
        [oracle.log_loss(g.chosen[:, c], a.probabilities[:, c]) for c in range(len(g.names))]
    ),
    "brier": lambda a, g: np.mean(
        [oracle.brier_score_loss(g.chosen[:, c], a.probabilities[:, c]) for c in range(len(g.names))]
    ),
}


def test_every_metric_has_an_oracle() -> None:
    read = {name for name in extensions.names("evaluate.metric") if {Label, Labels} & set(metric_named(name).accepts)}
    assert {*SINGLE, *SEVERAL, *SCOPE} == read


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("num_labels", [2, 4])
@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "ties"])
def test_one_label_per_row_agrees_with_the_oracle(name: str, num_labels: int, coarse: bool) -> None:
    answer, gold = single(num_labels, num_labels=num_labels, coarse=coarse)
    if num_labels == 2:
        gold = Label(gold.names, gold.chosen % 2)
    value = score(answer, gold, [name])[name]
    assert value == pytest.approx(SINGLE[name](answer, gold), abs=1e-12)


@pytest.mark.parametrize("name", SCOPE)
@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "ties"])
def test_what_is_out_of_scope_agrees_with_the_oracle(name: str, coarse: bool) -> None:
    answer, gold = single(4, coarse=coarse)
    gold = replace(gold, out_of_scope="b")
    assert score(answer, gold, [name])[name] == pytest.approx(SCOPE[name](answer, gold), abs=1e-12)
    (found,) = measure(answer, gold, [name], seed=0, num_resamples=500)
    rows = {"out_of_scope_recall": (~inside(gold)).sum(), "out_of_scope_auroc": len(gold)}
    assert found.num_rows == rows.get(name, inside(gold).sum())
    assert found.value is not None
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


@pytest.mark.parametrize("name", SCOPE)
def test_a_share_of_no_rows_is_undefined(name: str) -> None:
    answer, gold = single(4)
    assert score(answer, gold, [name]) == {name: None}, "no label is out of scope"
    marked = replace(gold, out_of_scope="b")
    rows = np.flatnonzero(inside(gold) if name.startswith("out") else ~inside(gold))
    assert score(answer.take(rows), marked.take(rows), [name]) == {name: None}
    bare = Label(answer.names, answer.chosen)
    assert (score(bare, marked, [name])[name] is None) == (name == "out_of_scope_auroc")


@pytest.mark.parametrize("name", SEVERAL)
def test_several_labels_per_row_agree_with_the_oracle(name: str) -> None:
    answer, gold = several(3)
    assert score(answer, gold, [name])[name] == pytest.approx(SEVERAL[name](answer, gold), abs=1e-12)


@pytest.mark.parametrize("name", [name for name in SINGLE if name.startswith(("macro", "weighted"))])
def test_a_label_of_the_schema_that_occurs_nowhere_is_left_out(name: str) -> None:
    with_absent, gold = single(7, num_labels=5)
    without = Label(NAMES[:4], with_absent.chosen), Label(NAMES[:4], gold.chosen)
    assert score(with_absent, gold, [name]) == pytest.approx(score(*without, [name]))


def test_a_label_that_is_only_answered_counts_as_zero() -> None:
    answer, gold = Label(NAMES[:3], np.array([0, 1, 2, 0])), Label(NAMES[:3], np.array([0, 1, 1, 0]))
    values = score(answer, gold, ["macro_f1", "macro_precision", "macro_recall"])
    assert values["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert values["macro_precision"] == pytest.approx((1 + 1 + 0) / 3)
    assert values["macro_recall"] == pytest.approx((1 + 1 / 2) / 2)


@pytest.mark.parametrize("name", [*SINGLE, "subset_accuracy", "hamming_loss"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_a_weight_is_a_number_of_copies(name: str, seed: int) -> None:
    answer: Classified
    gold: Classified
    answer, gold = several(seed, 40) if name in ("subset_accuracy", "hamming_loss") else single(seed, 40, coarse=True)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 40))
    metric = metric_named(name)
    statistics = metric.observe(answer, gold)
    together = metric.values(statistics, weights.astype(np.float64))
    for row, value in zip(weights, together, strict=True):
        copies = np.repeat(np.arange(40), row)
        expected = metric.value(metric.observe(answer.take(copies), gold.take(copies)))
        assert math.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)
        weighted = metric.value(statistics, row.astype(np.float64))
        assert weighted == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("name", ["log_loss", "brier", "ece", "roc_auc", "pr_auc"])
def test_without_probabilities_it_is_undefined(name: str) -> None:
    answer, gold = single(0)
    assert score(Label(answer.names, answer.chosen), gold, [name]) == {name: None}


@pytest.mark.parametrize("name", ["mcc", "roc_auc", "pr_auc"])
def test_it_is_undefined_where_one_label_is_all_there_is(name: str) -> None:
    gold = Label(("a", "b"), np.zeros(5, dtype=np.int64))
    answer = Label(("a", "b"), np.zeros(5, dtype=np.int64), np.tile([0.8, 0.2], (5, 1)))
    assert score(answer, gold, [name]) == {name: None}


def test_no_rows_give_no_number() -> None:
    answer, gold = single(0)
    none = np.arange(0)
    assert set(score(answer.take(none), gold.take(none), list(SINGLE)).values()) == {None}


def test_ece_looks_at_the_most_probable_label_not_at_the_threshold() -> None:
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3]])
    gold = Label(("a", "b"), np.array([0, 0]))
    by_threshold = Label(("a", "b"), np.array([1, 1]), probabilities)
    assert score(by_threshold, gold, ["ece"])["ece"] == pytest.approx(0.35)


def test_bins_are_open_below_and_closed_above() -> None:
    probabilities = np.array([[9 / 15, 6 / 15], [9 / 15 + 1e-9, 6 / 15 - 1e-9]])
    answer = Label(("a", "b"), np.array([0, 0]), probabilities)
    gold = Label(("a", "b"), np.array([0, 1]))
    assert score(answer, gold, ["ece"])["ece"] == pytest.approx((0.4 + 0.6) / 2)


def test_the_table_by_label_agrees_with_the_oracle() -> None:
    answer, gold = single(5)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(gold.chosen, answer.chosen, labels=range(4))
    table = score_labels(answer, gold)
    assert answer.probabilities is not None
    for c, label in enumerate(gold.names):
        row = table[label]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [precision[c], recall[c], f1[c], support[c]]
        )
        assert row["roc_auc"] == pytest.approx(oracle.roc_auc_score(gold.chosen == c, answer.probabilities[:, c]))
        assert row["prevalence"] == pytest.approx(support[c] / 300)


def test_the_table_by_label_says_none_for_what_is_undefined() -> None:
    answer, gold = single(7, num_labels=5)
    absent = score_labels(answer, gold)["e"]
    assert absent["support"] == 0
    assert [absent[name] for name in ("precision", "recall", "f1", "roc_auc", "pr_auc")] == [None] * 5


class Foreign:
    """A third party's metric: the three members of the Protocol and nothing more."""

    accepts = (Label,)

    def observe(self, answer: Label, gold: Label) -> Floats:
        statistics: Floats = (answer.chosen == gold.chosen).astype(np.float64)[:, np.newaxis]
        return statistics

    def value(self, statistics: Floats, weights: Floats | None = None) -> float | None:
        return float(np.average(statistics[:, 0], weights=weights))


def test_a_metric_with_only_the_protocols_methods_is_resampled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "load", lambda family, name: Foreign)
    metric = metric_named("theirs")
    answer, gold = single(1, 30)
    statistics = metric.observe(answer, gold)
    weights = np.random.default_rng(0).integers(1, 3, (4, 30)).astype(np.float64)
    expected = (weights @ statistics[:, 0]) / weights.sum(axis=1)
    assert isinstance(metric, MetricBase)
    assert metric.values(statistics, weights) == pytest.approx(expected)
    assert metric.value(statistics) == pytest.approx(statistics.mean())
