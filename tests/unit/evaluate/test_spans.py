"""The judge of labelled spans: verdicts that are known beforehand, kinds of errors, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunewright.errors import InputError
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.score import score
from tunewright.evaluate.spans import KINDS, count_errors, evaluate_spans, find_worst_spans, score_by_label
from tunewright.types import Report, Span, Spans, Tally

LABELS = ("person", "place")
FIRST = ("Ada", "Bert", "Cleo", "Dora", "小明", "小红")
SECOND = ("London", "Paris", "Rome", "北京")


def rows(count: int, seed: int) -> tuple[list[str], Spans]:
    random = np.random.default_rng(seed)
    texts, found = [], []
    for number in range(count):
        who, where = f"{random.choice(FIRST)}{seed}x{number}", str(random.choice(SECOND))
        text = f"{who} in {where}"
        texts.append(text)
        found.append((Span(0, len(who), "person"), Span(len(who) + 4, len(text), "place")))
    return texts, Spans(LABELS, tuple(found))


def weakened(gold: Spans, share: float, seed: int = 0) -> Spans:
    """The gold with this share of its spans left out."""
    random = np.random.default_rng(seed)
    return Spans(gold.names, tuple(tuple(span for span in each if random.random() >= share) for each in gold.found))


def judged(tuned: float, base: float, config: Evaluate.Config | None = None, **options: Any) -> Report:
    data = {
        split: rows(count, seed)
        for seed, (split, count) in enumerate({"train": 90, "validation": 40, "test": 120}.items())
    }
    given: dict[str, Any] = {
        "answers": lambda split: weakened(data[split][1], tuned),
        "untouched": lambda: (
            lambda texts: weakened(next(gold for known, gold in data.values() if known == texts), base, seed=1)
        ),
        "seen": data["train"][1].take,
        "gold": lambda split: data[split][1],
        "texts": lambda split: data[split][0],
        "metrics": ("entity_f1", "entity_recall", "entity_exact_rows"),
        "baselines": ("gazetteer",),
    }
    return evaluate_spans(config or Evaluate.Config(resamples=400), **{**given, **options})


def test_a_clearly_better_tagger_is_better() -> None:
    report = judged(0.05, 0.5)
    assert report.verdict.outcome == "better"
    assert report.verdict.metric == "entity_f1"
    assert {each.against for each in report.verdict.comparisons} == {"gazetteer", "untouched_base"}
    assert all(each.required for each in report.verdict.comparisons)
    measures = {each.name: each for each in report.measures}
    assert 0.93 < (measures["entity_f1"].value or 0) < 1.0
    low, high = measures["entity_f1"].interval or (0, 0)
    assert low < (measures["entity_f1"].value or 0) < high
    assert set(report.per_label) == set(LABELS)
    assert report.systems["gazetteer"]["entity_recall"] == pytest.approx(0.5)  # places are known, people are not
    assert set(report.figures) == {"span_errors"}


def test_one_that_lost_to_its_base_is_worse_and_an_equal_one_is_no_evidence() -> None:
    assert judged(0.6, 0.05).verdict.outcome == "worse"
    assert judged(0.3, 0.3).verdict.outcome == "no evidence"


def test_errors_are_told_by_their_kind() -> None:
    gold = Spans(("a", "b"), ((Span(0, 3, "a"), Span(5, 8, "b"), Span(10, 12, "a"), Span(20, 22, "a")),))
    answer = Spans(("a", "b"), ((Span(0, 3, "a"), Span(5, 8, "a"), Span(10, 14, "a"), Span(15, 16, "b")),))
    assert count_errors(answer, gold) == dict.fromkeys(KINDS, 1)
    twice = Spans(("a", "b"), ((Span(0, 2, "a"), Span(2, 3, "a")),))
    assert count_errors(twice, gold)["surplus"] == 1
    assert score_by_label(answer, gold)["b"] == {
        "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1.0, "prevalence": 0.25,
    }  # fmt: skip


def test_the_surest_mistakes_come_first() -> None:
    texts = ["Ada slept", "London", "fine"]
    gold = Spans(("a",), ((Span(0, 3, "a"),), (Span(0, 6, "a"),), ()))
    answer = Spans(("a",), ((), (Span(0, 3, "a", 0.9),), ()))
    first, second = find_worst_spans(answer, gold, texts, 5)
    assert (first.index, first.gold, first.answered, first.confidence) == (1, "London (a)", "Lon (a)", 0.9)
    assert (second.index, second.gold, second.answered, second.confidence) == (0, "Ada (a)", "", 0.0)


def test_what_cannot_be_judged_is_refused() -> None:
    empty = Spans(LABELS, ((),) * 4)
    with pytest.raises(InputError, match="no labelled spans in the train rows"):
        judged(0.1, 0.1, gold=lambda _: empty)
    for config, problem in (
        (Evaluate.Config(baselines=["majority"]), "does not answer with spans"),
        (Evaluate.Config(metric="accuracy"), "does not fit"),
    ):
        with pytest.raises(InputError, match=problem):
            judged(0.1, 0.1, config=config)


def test_exact_rows_are_compared_by_rows_and_not_by_spans() -> None:
    """One system has fewer wrong spans in every row, and not one row more that is right."""
    texts, gold = rows(80, 3)
    fewer = Spans(LABELS, tuple((found[0],) for found in gold.found))
    none = Spans(LABELS, ((),) * 80)
    [comparison] = compare(fewer, {"none": none}, gold, "entity_exact_rows", {"none"}, 0, num_resamples=200)
    assert comparison.p == 1.0
    assert comparison.num_discordant == 0
    [by_spans] = compare(fewer, {"none": none}, gold, "entity_f1", {"none"}, 0, num_resamples=200)
    assert by_spans.p < 0.05
    assert len(texts) == 80


def test_what_was_not_read_counts_as_missed() -> None:
    gold = Spans(("a",), ((Span(0, 1, "a"), Span(5, 6, "a")),))
    tally = Tally(("a",), np.array([[[1.0], [1.0], [1.0]]]), np.zeros(1), np.ones(1, dtype=np.int64))
    assert score(tally, gold, ["entity_recall", "entity_exact_rows"]) == {
        "entity_recall": 0.5,
        "entity_exact_rows": 0.0,
    }
