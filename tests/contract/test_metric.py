"""Every file in ``evaluate/metric`` is a Metric: it says what it is, rewards the right answer, and does not care for order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunewright import extensions
from tunewright.evaluate.metric._entities import count_spans
from tunewright.types import Answer, Label, Labels, Likelihood, Preferred, Span, Spans, Tally, Text

NAMES = extensions.names("evaluate.metric")
SCHEMA = ("first", "second", "第三")


def build(name: str) -> Any:
    return extensions.load("evaluate.metric", name)()


def written(texts: list[str], stopped: bool = True) -> Text:
    return Text(tuple(texts), np.full(len(texts), 9), np.full(len(texts), stopped))


def cases(name: str) -> list[tuple[Answer, Answer, Answer]]:
    """Right answers, random answers and gold, for each kind of Answer that the metric reads."""
    rng = np.random.default_rng(0)
    right, other = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    sure = np.eye(3) * 0.97 + 0.01
    gold = Label(SCHEMA, right, out_of_scope="第三")
    single = (Label(SCHEMA, right, sure[right]), Label(SCHEMA, other, sure[other]), gold)
    many, unlike = rng.random((60, 3)) < 0.4, rng.random((60, 3)) < 0.4
    several = (
        Labels(SCHEMA, many, np.where(many, 0.98, 0.02)),
        Labels(SCHEMA, unlike, np.where(unlike, 0.98, 0.02)),
        Labels(SCHEMA, many),
    )
    references = [f"reference {number}: 第{number}个回答。" for number in range(60)]
    rambling = ["round and round it goes, " * (3 + number % 4) for number in range(60)]
    texts = (written(references), written(rambling, stopped=False), written(references))
    nats = rng.random(60) + 5
    likelihoods = (Likelihood(nats, np.full(60, 7)), Likelihood(nats * 2, np.full(60, 7)), texts[2])
    marked, mistaken = (
        Spans(SCHEMA, tuple((Span(shift, 4 + row % 3, SCHEMA[row % 3]), Span(8, 9, SCHEMA[1])) for row in range(60)))
        for shift in (0, 1)
    )
    counts = np.stack([count_spans(each, marked) for each in (marked, mistaken)])
    right_tally, other_tally = (Tally(SCHEMA, each, nats, np.full(60, 7)) for each in counts)
    by_kind: dict[type, tuple[Answer, Answer, Answer]] = {
        Spans: (marked, mistaken, marked),
        Preferred: (Preferred(np.ones(60)), Preferred(rng.normal(size=60)), Preferred(np.ones(60))),
        Tally: (right_tally, other_tally, marked),
        Label: single,
        Labels: several,
        Text: texts,
        Likelihood: likelihoods,
    }
    return [by_kind[kind] for kind in build(name).accepts]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    metric = build(name)
    assert metric.description.endswith(".")
    assert "\n" not in metric.description
    assert isinstance(metric.higher_is_better, bool)
    assert metric.accepts
    assert set(metric.accepts) <= {Label, Labels, Text, Likelihood, Spans, Tally, Preferred}


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answers_score_best(name: str) -> None:
    metric = build(name)
    for right, random, gold in cases(name):
        best, worse = (metric.value(metric.observe(answer, gold)) for answer in (right, random))
        if metric.best_value is not None:
            assert best == metric.best_value != worse
            continue
        assert best > worse if metric.higher_is_better else best < worse
        if metric.higher_is_better:
            assert best == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_one_row_per_example(name: str) -> None:
    metric = build(name)
    for _, answer, gold in cases(name):
        statistics = metric.observe(answer, gold)
        assert statistics.ndim == 2
        assert len(statistics) == len(gold)
        assert statistics.dtype == np.float64
        rows = np.array([5, 3, 11])
        assert np.array_equal(statistics[rows], metric.observe(answer.take(rows), gold.take(rows)))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    metric = build(name)
    for _, answer, gold in cases(name):
        order = np.random.default_rng(1).permutation(len(gold))
        shuffled = metric.value(metric.observe(answer.take(order), gold.take(order)))
        assert metric.value(metric.observe(answer, gold)) == pytest.approx(shuffled, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_one_change_nothing_and_of_zero_leave_nothing(name: str) -> None:
    metric = build(name)
    for _, answer, gold in cases(name):
        statistics = metric.observe(answer, gold)
        assert metric.value(statistics, np.ones(len(gold))) == metric.value(statistics)
        assert metric.value(statistics, np.zeros(len(gold))) is None
