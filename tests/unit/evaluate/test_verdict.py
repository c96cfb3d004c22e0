"""The rule of promise N1, case by case, and the sentence."""

from __future__ import annotations

import dataclasses

import pytest

from tunewright.evaluate.verdict import judge, show_p, title_of
from tunewright.types import Comparison, Verdict


def compared(
    against: str, difference: float, p: float, *, metric: str = "accuracy", required: bool = True
) -> Comparison:
    return Comparison(
        against=against,
        metric=metric,
        tuned=0.85,
        opponent=0.85 - difference,
        difference=difference,
        interval=(difference - 0.016, difference + 0.016),
        p=p,
        p_holm=p,
        test="",
        num_rows=2121,
        num_discordant=100,
        smallest_detectable=0.021,
        required=required,
    )


def verdict(*comparisons: Comparison, metric: str = "accuracy") -> Verdict:
    return judge(comparisons, metric=metric, num_rows=2121, design="as said")


WON, LOST, OPEN = (0.056, 0.00001), (-0.03, 0.002), (0.01, 0.2)


@pytest.mark.parametrize(
    ("base", "strongest", "outcome"),
    [
        (WON, WON, "better"),
        (WON, OPEN, "no evidence"),
        (OPEN, WON, "no evidence"),
        (OPEN, OPEN, "no evidence"),
        (WON, LOST, "worse"),
        (LOST, WON, "worse"),
        (LOST, LOST, "worse"),
        (LOST, OPEN, "worse"),
        (OPEN, LOST, "worse"),
    ],
)
def test_the_rule(base: tuple[float, float], strongest: tuple[float, float], outcome: str) -> None:
    assert verdict(compared("untouched_base", *base), compared("nb_svm", *strongest)).outcome == outcome


def test_the_others_do_not_decide() -> None:
    deciding = (compared("untouched_base", *WON), compared("nb_svm", *WON))
    assert verdict(*deciding, compared("tfidf_lr", *LOST, required=False)).outcome == "better"


@pytest.mark.parametrize(("p", "outcome"), [(0.0499, "better"), (0.05, "no evidence")])
def test_the_level_is_five_percent(p: float, outcome: str) -> None:
    assert verdict(compared("untouched_base", *WON), compared("nb_svm", 0.02, p)).outcome == outcome


def test_holm_is_for_the_table_not_for_the_verdict() -> None:
    corrected = dataclasses.replace(compared("nb_svm", 0.02, 0.03), p_holm=0.12)
    assert verdict(compared("untouched_base", *WON), corrected).outcome == "better"


@pytest.mark.parametrize("missing", [("untouched_base",), ("nb_svm",), ()])
def test_better_needs_both_opponents(missing: tuple[str, ...]) -> None:
    found = verdict(*(compared(name, *WON) for name in missing))
    assert found.outcome == "no evidence"
    assert "needs a comparison with the untouched base and with one baseline" in found.sentence


def test_lower_is_better_turns_the_direction() -> None:
    falls = [compared(name, -0.05, 0.001, metric="log_loss") for name in ("untouched_base", "nb_svm")]
    rises = [compared(name, 0.05, 0.001, metric="log_loss") for name in ("untouched_base", "nb_svm")]
    assert verdict(*falls, metric="log_loss").outcome == "better"
    assert verdict(*rises, metric="log_loss").outcome == "worse"
    assert "0.850 log loss (lower is better) against 0.900" in verdict(*falls, metric="log_loss").sentence


def test_the_sentence_of_better() -> None:
    found = verdict(compared("untouched_base", 0.2, 1e-9), compared("nb_svm", 0.056, 1e-9))
    assert found.sentence == (
        "Better: 85.0 % accuracy against 79.4 % for NB-SVM (difference +5.6 points, 95 % interval 4.0 to 7.2, p < 0.0001) and "
        "65.0 % for the untouched base (difference +20.0 points, 95 % interval 18.4 to 21.6, p < 0.0001), on 2,121 held-out rows."
    )
    assert found.design == "as said"


def test_the_sentence_of_no_evidence_names_what_was_not_won_and_what_would_have_been_seen() -> None:
    found = verdict(compared("untouched_base", *WON), compared("tfidf_lr", 0.009, 0.41))
    assert found.sentence == (
        "No evidence: 85.0 % accuracy against 84.1 % for TF-IDF + logistic regression (difference +0.9 points, 95 % interval "
        "-0.7 to 2.5, p = 0.41), on 2,121 held-out rows; this test would have shown a difference of 2.1 points or more."
    )


def test_the_sentence_of_worse_names_only_what_was_lost() -> None:
    found = verdict(compared("untouched_base", *WON), compared("nb_svm", -0.03, 0.002))
    assert found.sentence.startswith("Worse: 85.0 % accuracy against 88.0 % for NB-SVM (difference -3.0 points")
    assert "untouched" not in found.sentence


def test_one_row_is_one_row() -> None:
    found = judge([compared("nb_svm", 1.0, 1.0)], metric="accuracy", num_rows=1, rows="held-out rows")
    assert ", on 1 held-out row;" in found.sentence


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0, "p < 0.0001"), (0.00099, "p = 0.00099"), (0.0131, "p = 0.013"), (0.416, "p = 0.42"), (1.0, "p = 1")],
)
def test_p_values_read_well(p: float, shown: str) -> None:
    assert show_p(p) == shown


def test_an_unknown_system_keeps_its_name() -> None:
    assert title_of("their_model") == "their_model"
    assert title_of("tuned") == "the tuned model"
