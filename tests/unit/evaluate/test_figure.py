"""Figure data against scikit-learn's curves, and its sizes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from tunewright.evaluate.figure import count_confusions, draw_curves, draw_figures, pr_points, roc_points
from tunewright.types import Label, Labels


def answers(num_labels: int, num_rows: int = 600, seed: int = 0, hint: float = 0.4) -> tuple[Label, Label]:
    rng = np.random.default_rng(seed)
    right = rng.integers(0, num_labels, num_rows)
    probabilities = rng.dirichlet(np.full(num_labels, 0.5), num_rows)
    probabilities[np.arange(num_rows), right] += hint
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = tuple(f"类{c}" for c in range(num_labels))
    return Label(names, probabilities.argmax(axis=1), probabilities), Label(names, right)


def test_roc_points_are_the_oracles() -> None:
    rng = np.random.default_rng(0)
    scores, right = np.round(rng.random(200), 2), rng.random(200) < 0.3
    x, y = roc_points(scores, right)
    expected_x, expected_y, _ = oracle.roc_curve(right, scores, drop_intermediate=False)
    assert x == pytest.approx(expected_x)
    assert y == pytest.approx(expected_y)


def test_pr_points_are_the_oracles() -> None:
    rng = np.random.default_rng(1)
    scores, right = np.round(rng.random(200), 2), rng.random(200) < 0.3
    x, y = pr_points(scores, right)
    precision, recall, _ = oracle.precision_recall_curve(right, scores, drop_intermediate=False)
    assert x[1:] == pytest.approx(recall[-2::-1])
    assert y[1:] == pytest.approx(precision[-2::-1])


def test_two_labels_give_one_curve_and_few_give_one_each() -> None:
    for num_labels, expected in ((2, ["类1"]), (4, ["类0", "类1", "类2", "类3"])):
        drawn: Any = draw_curves(*answers(num_labels), "roc_auc")
        assert [curve["label"] for curve in drawn["curves"]] == expected
        assert drawn["note"] == ""


@pytest.mark.parametrize("area", ["roc_auc", "pr_auc"])
def test_many_labels_give_the_mean_and_the_five_worst(area: str) -> None:
    drawn: Any = draw_curves(*answers(15), area)
    areas = [curve["area"] for curve in drawn["curves"]]
    assert drawn["curves"][0]["label"] == "mean of all labels"
    assert len(areas) == 6
    assert areas[1:] == sorted(areas[1:])
    assert areas[0] > areas[1]
    assert "15 labels" in drawn["note"]


def test_curves_have_at_most_200_points_and_keep_their_ends() -> None:
    drawn: Any = draw_curves(*answers(2, 5000), "roc_auc")
    x, y = drawn["curves"][0]["x"], drawn["curves"][0]["y"]
    assert len(x) == len(y) <= 200
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(drawn["curves"][0]["area"], abs=2e-3)


def test_the_matrix_is_the_oracles_and_large_ones_become_pairs() -> None:
    answer, gold = answers(4)
    small: Any = count_confusions(answer, gold)
    assert small["counts"] == oracle.confusion_matrix(gold.chosen, answer.chosen).tolist()
    answer, gold = answers(31, 3000, hint=0.05)
    large: Any = count_confusions(answer, gold)
    matrix = oracle.confusion_matrix(gold.chosen, answer.chosen, labels=range(31))
    np.fill_diagonal(matrix, 0)
    counts = [pair["count"] for pair in large["pairs"]]
    assert counts == sorted(matrix.ravel(), reverse=True)[:20]
    first = large["pairs"][0]
    g, a = gold.names.index(first["gold"]), gold.names.index(first["answered"])
    assert matrix[g, a] == first["count"]
    assert first["share"] == pytest.approx(first["count"] / (gold.chosen == g).sum())


def test_bins_and_histogram_count_every_row() -> None:
    answer, gold = answers(3)
    figures: Any = draw_figures(answer, gold)
    bins = figures["reliability"]["bins"]
    assert len(bins) == 15
    assert sum(each["count"] for each in bins) == 600
    right = sum(each["count"] * each["right"] for each in bins if each["count"])
    assert right == pytest.approx((answer.chosen == gold.chosen).sum())
    histogram = figures["confidence"]
    assert sum(histogram["right"]) + sum(histogram["wrong"]) == 600
    assert sum(histogram["right"]) == pytest.approx(right)


def test_a_certainty_a_hair_above_one_is_counted() -> None:
    probabilities = np.array([[1.0000000002, 0.0], [0.2, 0.8]])
    answer = Label(("a", "b"), np.array([0, 1]), probabilities)
    figures: Any = draw_figures(answer, Label(("a", "b"), np.array([0, 1])))
    assert sum(figures["confidence"]["right"]) == 2


def test_everything_is_json() -> None:
    rng = np.random.default_rng(0)
    chosen, probabilities = rng.random((80, 3)) < 0.5, rng.random((80, 3))
    several = draw_figures(Labels(("a", "b", "c"), probabilities > 0.5, probabilities), Labels(("a", "b", "c"), chosen))
    for figures in (several, draw_figures(*answers(2)), draw_figures(*answers(40, 500))):
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_what_cannot_be_drawn_is_absent() -> None:
    answer, gold = answers(2)
    assert set(draw_figures(Label(answer.names, answer.chosen), gold)) == {"confusion"}
    none = np.arange(0)
    assert draw_figures(answer.take(none), gold.take(none)) == {}
    one: Any = draw_figures(answer, Label(gold.names, np.zeros(600, dtype=np.int64)))
    assert one["roc"]["curves"] == []
