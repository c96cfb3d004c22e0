"""The most confident errors."""

from __future__ import annotations

import numpy as np

from tunewright.evaluate.worst import find_worst
from tunewright.types import Label, Labels, WorstRow


def test_errors_come_most_confident_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.99, 0.01], [0.3, 0.7]])
    answer = Label(("否", "是"), probabilities.argmax(axis=1), probabilities)
    gold = Label(("否", "是"), np.array([0, 0, 0, 1, 0]))
    assert find_worst(answer, gold, 3) == (
        WorstRow(3, "是", "否", 0.99),
        WorstRow(1, "否", "是", 0.8),
        WorstRow(2, "否", "是", 0.7),
    )
    assert find_worst(answer, gold, 0) == ()
    assert find_worst(gold, gold, 5) == ()


def test_the_confidence_is_that_of_the_answer_a_threshold_chose() -> None:
    answer = Label(("a", "b"), np.array([1]), np.array([[0.7, 0.3]]))
    assert find_worst(answer, Label(("a", "b"), np.array([0])), 1) == (WorstRow(0, "a", "b", 0.3),)


def test_several_labels_show_both_sets_and_the_surest_mistake() -> None:
    names = ("a", "b", "c")
    answer = Labels(names, np.array([[True, False, False]]), np.array([[0.95, 0.1, 0.2]]))
    gold = Labels(names, np.array([[True, True, True]]))
    assert find_worst(answer, gold, 1) == (WorstRow(0, "a | b | c", "a", 0.9),)


def test_without_probabilities_every_error_is_certain() -> None:
    answer, gold = Label(("a", "b"), np.array([0, 1, 0])), Label(("a", "b"), np.array([1, 1, 1]))
    assert [(row.index, row.confidence) for row in find_worst(answer, gold, 9)] == [(0, 1.0), (2, 1.0)]
