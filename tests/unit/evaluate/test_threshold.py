"""Thresholds: chosen where they help, on validation, and stable."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tunewright.evaluate.score import score
from tunewright.evaluate.threshold import apply_thresholds, best_f1_threshold, choose_thresholds
from tunewright.types import Floats, Label, Labels

SCHEMA = ("common", "rare")


def answered(positive: Floats, schema: tuple[str, ...] = SCHEMA) -> Label:
    probabilities = np.stack([1 - positive, positive], axis=1)
    return Label(schema, probabilities.argmax(axis=1), probabilities)


def timid(num_rows: int = 400, share: float = 0.1, seed: int = 0) -> tuple[Label, Label]:
    """A model that ranks well and never dares to answer the rare label above one half."""
    rng = np.random.default_rng(seed)
    right = (rng.random(num_rows) < share).astype(np.int64)
    return answered(np.clip(0.1 + 0.25 * right + 0.08 * rng.normal(size=num_rows), 0.01, 0.99)), Label(SCHEMA, right)


def test_a_rare_label_gets_the_threshold_that_is_best_for_the_metric() -> None:
    answer, gold = timid()
    thresholds, choice = choose_thresholds(answer, gold, "macro_f1", 0.05)
    after = score(apply_thresholds(answer, thresholds), gold, ["macro_f1"])["macro_f1"]
    assert answer.probabilities is not None
    tried = [
        f1_score(gold.chosen, answer.probabilities[:, 1] >= t, average="macro") for t in np.linspace(0.01, 0.99, 99)
    ]
    assert after is not None
    assert after >= max(tried) - 0.005
    assert set(thresholds) == {"rare"}
    assert choice.value == thresholds
    assert "400 validation rows" in choice.reason


def test_the_judged_rows_are_answered_by_the_chosen_threshold() -> None:
    answer, gold = timid(seed=0)
    other, truth = timid(seed=1)
    thresholds, _ = choose_thresholds(answer, gold, "macro_f1", 0.05)
    before, after = (
        score(each, truth, ["macro_f1"])["macro_f1"] for each in (other, apply_thresholds(other, thresholds))
    )
    assert before is not None
    assert after is not None
    assert after > before + 0.2


def test_common_labels_keep_the_most_probable_for_accuracy() -> None:
    answer, gold = timid(share=0.45)
    assert choose_thresholds(answer, gold, "accuracy", 0.05)[0] == {}


def test_common_labels_get_one_for_an_f1() -> None:
    answer, gold = timid(share=0.45)
    assert choose_thresholds(answer, gold, "macro_f1", 0.05)[0]


def test_no_threshold_is_better_than_a_half_where_a_half_is_best() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random(300) < 0.2).astype(np.int64)
    answer = answered(np.where(right == 1, 0.9, 0.1))
    thresholds, choice = choose_thresholds(answer, Label(SCHEMA, right), "macro_f1", 0.05)
    assert thresholds == {}
    assert choice.value == "none"


@pytest.mark.parametrize(
    ("metric", "rows", "reason"),
    [
        ("roc_auc", 400, "does not depend"),
        ("log_loss", 400, "does not depend"),
        ("macro_f1", 20, "are needed"),
        ("macro_f1", 0, "no"),
    ],
)
def test_it_says_why_there_is_none(metric: str, rows: int, reason: str) -> None:
    answer, gold = timid()
    thresholds, choice = choose_thresholds(answer.take(np.arange(rows)), gold.take(np.arange(rows)), metric, 0.05)
    assert thresholds == {}
    assert reason in choice.reason


def test_many_labels_and_answers_without_probabilities_have_none() -> None:
    three = Label(("a", "b", "c"), np.zeros(50, dtype=np.int64), np.full((50, 3), 1 / 3))
    assert choose_thresholds(three, three, "macro_f1", 0.05)[0] == {}
    answer, gold = timid()
    assert choose_thresholds(Label(SCHEMA, answer.chosen), gold, "macro_f1", 0.05)[0] == {}


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    assert best_f1_threshold(scores, scores > 0.25) == pytest.approx(0.25)
    assert best_f1_threshold(scores, scores > 0.45) == 0.5
    flat = np.array([0.2, 0.4, 0.6, 0.8])
    assert best_f1_threshold(flat, np.array([False, False, True, True])) == 0.5


def test_the_best_f1_is_found_by_brute_force() -> None:
    """Over every cut between two scores; a threshold that gives all rows the label is no candidate, whatever its F1."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores, right = np.round(rng.random(25), 2), rng.random(25) < 0.4
        cuts = [limit for limit in np.arange(0.005, 1.005, 0.01) if scores.min() < limit < scores.max()]
        tried = [2 * (right & (scores >= cut)).sum() / (right.sum() + (scores >= cut).sum()) for cut in cuts]
        chosen = scores >= best_f1_threshold(scores, right)
        assert f1_score(right, chosen) == pytest.approx(max(tried))


def test_each_of_several_labels_gets_its_own() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((300, 3)) < [0.1, 0.5, 0.01]
    probabilities = np.clip(0.3 * right + [0.05, 0.35, 0.05] + 0.05 * rng.random((300, 3)), 0, 1)
    answer, gold = (
        Labels(("rare", "common", "hardly"), probabilities >= 0.5, probabilities),
        Labels(("rare", "common", "hardly"), right),
    )
    thresholds, choice = choose_thresholds(answer, gold, "micro_f1", 0.05)
    assert set(thresholds) == {"rare"}
    applied = apply_thresholds(answer, thresholds)
    assert isinstance(applied, Labels)
    assert np.array_equal(applied.chosen[:, 0], right[:, 0])
    assert np.array_equal(applied.chosen[:, 1:], answer.chosen[:, 1:])
    assert "2 of 3 labels keep 0.5" in choice.reason


def test_no_thresholds_change_nothing() -> None:
    answer, _ = timid()
    assert apply_thresholds(answer, {}) is answer


def test_chinese_labels_are_labels() -> None:
    answer, gold = timid()
    names = ("好评", "差评")
    chinese = Label(names, answer.chosen, answer.probabilities)
    assert set(choose_thresholds(chinese, Label(names, gold.chosen), "macro_f1", 0.05)[0]) == {"差评"}
