"""Each cause planted by construction; each next command ready to type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunewright.evaluate.diagnose import Curves, Symptoms, diagnose, find_contradicted
from tunewright.types import Diagnosis, Label, Labels

HEALTHY: dict[str, Any] = {
    "metric": "accuracy",
    "train_score": 0.90,
    "validation_score": 0.86,
    "baseline": "nb_svm",
    "baseline_score": 0.79,
    "rows_per_label": {"neg": 3000, "pos": 3100},
    "num_checked": 1000,
    "num_contradicted": 15,
    "num_errors": 140,
    "num_baseline_errors": 210,
    "outcome": "better",
    "difference": 0.06,
    "smallest_detectable": 0.02,
    "curves": Curves(train_loss=(0.69, 0.4, 0.3), validation_metric=(0.82, 0.85, 0.86), epochs=3),
}

FALLING = Curves(train_loss=(0.69, 0.1), validation_metric=(0.80, 0.84, 0.83, 0.79), epochs=8)
RISING = Curves(train_loss=(0.69, 0.66), validation_metric=(0.55, 0.60, 0.66), epochs=1)


def diagnosed(**changes: Any) -> Diagnosis:
    return diagnose(Symptoms(**{**HEALTHY, **changes}), "tunewright run movie.yaml")


def test_nothing_is_wrong() -> None:
    found = diagnosed()
    assert found.cause == "fine"
    assert (
        found.evidence[0]
        == "accuracy: 90.0 % on training rows, 86.0 % on validation rows, 79.0 % on validation rows by NB-SVM"
    )
    assert found.evidence[1] == "the training loss went from 0.690 to 0.300 in 3 epochs"
    assert found.next_command == "tunewright predict RUN FILE -o answers.csv"


@pytest.mark.parametrize(
    ("changes", "cause", "evidence", "override"),
    [
        (
            {"curves": FALLING, "train_score": 1.0},
            "over-fit",
            "best at evaluation 2 of 4 and then fell by 0.050",
            "train.epochs=4",
        ),
        (
            {"outcome": "no evidence", "train_score": 0.99, "validation_score": 0.80, "difference": 0.0},
            "over-fit",
            "training rows score 19.0 points above validation rows",
            "train.optimizer.weight_decay=0.1",
        ),
        (
            {"outcome": "worse", "train_score": 0.70},
            "under-fit",
            "less than NB-SVM on rows it never saw (79.0 %)",
            "train.epochs=6",
        ),
        (
            {
                "outcome": "no evidence",
                "train_score": 0.82,
                "validation_score": 0.80,
                "curves": RISING,
                "difference": 0.0,
            },
            "under-fit",
            "still rising at the end: +0.060",
            "train.epochs=2",
        ),
        (
            {"outcome": "no evidence", "train_score": 0.82, "validation_score": 0.80, "difference": 0.001},
            "under-fit",
            "only 2.0 points above validation rows",
            "train.epochs=6",
        ),
        (
            {
                "outcome": "no evidence",
                "train_score": 0.99,
                "validation_score": 0.75,
                "baseline_score": 0.74,
                "rows_per_label": {"a": 9, "b": 12, "c": 400},
                "difference": 0.0,
            },
            "too few rows",
            "half of the 3 labels have 12 training rows or fewer; a has 9",
            "data.path=FILE_WITH_MORE_ROWS",
        ),
        (
            {"outcome": "no evidence", "difference": 0.03, "smallest_detectable": 0.05},
            "too few rows",
            "ahead by 3.0, but so few rows show only differences of 5.0 or more",
            "data.path=FILE_WITH_MORE_ROWS",
        ),
        (
            {"num_contradicted": 150, "num_errors": 250},
            "label trouble",
            "150 of 1,000 rows that were not trained on (15.0 %) are contradicted",
            "report.rows=text",
        ),
    ],
)
def test_a_planted_cause_is_named(changes: dict[str, Any], cause: str, evidence: str, override: str) -> None:
    found = diagnosed(**changes)
    assert found.cause == cause
    assert any(evidence in sentence for sentence in found.evidence), found.evidence
    assert found.next_command == f"tunewright run movie.yaml {override}"


@pytest.mark.parametrize(
    "changes",
    [
        {"num_contradicted": 9, "num_errors": 10, "num_checked": 100},
        {"num_contradicted": 40, "num_errors": 60},
        {"num_contradicted": 60, "num_errors": 300},
        {"num_contradicted": 180, "num_errors": 400, "num_baseline_errors": 400},
    ],
    ids=["few rows", "small share", "few of the errors", "no more than by chance"],
)
def test_some_contradiction_is_not_label_trouble(changes: dict[str, Any]) -> None:
    assert diagnosed(**changes).cause == "fine"


def test_a_gap_is_no_fault_of_a_model_that_is_better_and_does_not_fall() -> None:
    assert diagnosed(train_score=0.99).cause == "fine"


def test_at_the_ceiling_there_is_nothing_more_to_learn() -> None:
    assert diagnosed(outcome="no evidence", train_score=0.99, validation_score=0.985, difference=0.0).cause == "fine"


def test_a_loss_is_read_the_other_way_round() -> None:
    found = diagnosed(metric="log_loss", outcome="worse", train_score=0.05, validation_score=0.60, baseline_score=0.5)
    assert found.cause == "over-fit"
    assert "0.550 above" in found.evidence[0]


def test_knowing_nothing_it_finds_nothing() -> None:
    assert diagnose(Symptoms(metric="accuracy"), "tunewright run x").cause == "fine"


def planted_flips(share: float, seed: int = 0) -> tuple[list[Label], Label, np.ndarray]:
    """Two systems with independent errors, and gold labels of which a share is flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 2000)
    flipped = rng.random(2000) < share
    systems = []
    for error in (0.1, 0.2):
        score = np.clip(np.where(truth == 1, 0.85, 0.15) + rng.normal(0, 0.06, 2000), 0.01, 0.99)
        score = np.where(rng.random(2000) < error, 0.5 + 0.3 * (0.5 - score), score)
        probabilities = np.stack([1 - score, score], axis=1)
        systems.append(Label(("a", "b"), probabilities.argmax(axis=1), probabilities))
    return systems, Label(("a", "b"), np.where(flipped, 1 - truth, truth)), flipped


def test_flipped_labels_are_contradicted() -> None:
    systems, gold, flipped = planted_flips(0.15)
    found = find_contradicted(systems, gold)
    assert flipped[found].mean() > 0.9
    assert np.isin(np.flatnonzero(flipped), found).mean() > 0.5


def test_right_labels_are_hardly_contradicted() -> None:
    systems, gold, _ = planted_flips(0.0)
    assert len(find_contradicted(systems, gold)) < 0.02 * len(gold)


def test_both_systems_have_to_agree() -> None:
    gold = Label(("a", "b"), np.array([0, 0, 1]))
    sure = Label(("a", "b"), np.array([1, 0, 1]), np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 0.9]]))
    assert find_contradicted([sure, sure], gold).tolist() == [0]
    assert find_contradicted([sure, gold], gold).tolist() == []
    assert find_contradicted([gold, gold], gold).tolist() == []


def test_a_missing_label_is_a_contradiction_too() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((300, 2)) < 0.5
    given = truth.copy()
    given[:20, 0] = ~given[:20, 0]
    answer = Labels(("a", "b"), truth, np.where(truth, 0.95, 0.05))
    assert set(find_contradicted([answer, answer], Labels(("a", "b"), given)).tolist()) == set(range(20))
