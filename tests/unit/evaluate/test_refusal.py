"""Refusing: the limit keeps its promise on validation and on new rows, and is applied as it is told."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.design import Material, answer_validation, judge_out_of_fold, judge_test
from tunewright.evaluate.out_of_fold import FoldPlan
from tunewright.evaluate.score import choose_primary
from tunewright.evaluate.threshold import apply_thresholds, choose_thresholds
from tunewright.types import Classified, Floats, Label, tell_nobody

NAMES = ("其他", "开户", "转账", "cards")
REFUSED = NAMES.index("其他")


def questions(num_inside: int, num_outside: int, seed: int = 0, knows: float = 1.0) -> tuple[Label, Label]:
    """A model that is sure of rows in scope, less so of others, and gives the label 其他 to some of either."""
    rng = np.random.default_rng(seed)
    gold = np.concatenate([rng.integers(1, 4, num_inside), np.zeros(num_outside, dtype=np.int64)])
    logits = rng.normal(size=(len(gold), 4))
    logits[np.arange(len(gold)), gold] += np.where(gold == REFUSED, knows, 3.0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (
        Label(NAMES, probabilities.argmax(axis=1), probabilities, "其他"),
        Label(NAMES, gold, out_of_scope="其他"),
    )


def by_hand(answer: Label, limit: float) -> list[int]:
    """The rule, row by row."""
    assert answer.probabilities is not None
    chosen = []
    for row in answer.probabilities.tolist():
        best = max(range(4), key=row.__getitem__)
        chosen.append(REFUSED if best == REFUSED or max(row[1:]) < limit else best)
    return chosen


@pytest.mark.parametrize("num_inside", [19, 20, 39, 200, 1999])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.29])
def test_the_promised_share_holds_on_the_validation_rows(num_inside: int, share: float) -> None:
    answer, gold = questions(num_inside, 40)
    thresholds, choice = choose_thresholds(answer, gold, "accuracy", share)
    applied = apply_thresholds(answer, thresholds)
    assert applied.chosen.tolist() == by_hand(answer, thresholds["其他"])
    for_it = (applied.chosen == REFUSED) & (answer.chosen != REFUSED) & (gold.chosen != REFUSED)
    assert for_it.sum() == math.floor(share * (num_inside + 1) + 1e-9) - 1
    assert for_it.sum() <= share * num_inside
    assert f"{for_it.sum():,} of {num_inside:,} in scope" in choice.reason
    assert choice.value == thresholds
    assert round(thresholds["其他"], 6) == thresholds["其他"], "a short number, the same wherever it is copied to"


def test_the_promised_share_holds_on_average_for_new_rows() -> None:
    """Over 400 validation sets of 59 rows the mean share refused is r / (n + 1) = 3 / 60."""
    new, _ = questions(20_000, 0, seed=1)
    refused = []
    for seed in range(400):
        thresholds, _ = choose_thresholds(*questions(59, 0, seed=seed + 2), "accuracy", 0.05)
        after = apply_thresholds(new, thresholds).chosen
        refused.append(((after == REFUSED) & (new.chosen != REFUSED)).mean())
    assert np.mean(refused) == pytest.approx(0.05, abs=0.005)


def test_equal_scores_are_never_refused_for_standing_at_the_limit() -> None:
    probabilities = np.tile([0.1, 0.6, 0.2, 0.1], (100, 1))
    answer = Label(NAMES, probabilities.argmax(axis=1), probabilities, "其他")
    gold = Label(NAMES, np.ones(100, dtype=np.int64), out_of_scope="其他")
    thresholds, _ = choose_thresholds(answer, gold, "accuracy", 0.05)
    assert np.array_equal(apply_thresholds(answer, thresholds).chosen, answer.chosen)


@pytest.mark.parametrize(
    ("num_inside", "share", "reason"),
    [(18, 0.05, "too few"), (500, 0.0, "too few"), (0, 0.05, "no probabilities on validation rows in scope")],
)
def test_it_says_why_there_is_no_limit(num_inside: int, share: float, reason: str) -> None:
    answer, gold = questions(num_inside, 30)
    thresholds, choice = choose_thresholds(answer, gold, "accuracy", share)
    assert thresholds == {}
    assert choice.value == "none"
    assert reason in choice.reason
    assert apply_thresholds(answer, thresholds) is answer


def test_there_is_none_without_probabilities_or_where_all_is_refused() -> None:
    answer, gold = questions(100, 30)
    assert choose_thresholds(replace(answer, probabilities=None), gold, "accuracy", 0.05)[0] == {}
    sure = np.tile([0.7, 0.1, 0.1, 0.1], (130, 1))
    thresholds, choice = choose_thresholds(Label(NAMES, sure.argmax(axis=1), sure, "其他"), gold, "accuracy", 0.05)
    assert thresholds == {}
    assert "100 have it as the likeliest label" in choice.reason


def test_of_two_labels_the_one_in_scope_needs_the_limit() -> None:
    """The number means the other label here, and is not taken for a threshold on the second one."""
    names = ("question", "spam")
    second = np.array([0.2, 0.4, 0.45, 0.6])
    answer = Label(names, (second > 0.5).astype(np.int64), np.stack([1 - second, second], axis=1), "spam")
    assert apply_thresholds(answer, {"spam": 0.57}).chosen.tolist() == [0, 0, 1, 1]
    plain = replace(answer, out_of_scope=None)
    assert apply_thresholds(plain, {"spam": 0.57}).chosen.tolist() == [0, 0, 0, 1]


class Unsure:
    """A baseline of somebody else: right about half of the rows, and knows nothing of what is out of scope."""

    def __init__(self, answers: dict[str, Label]) -> None:
        self.answers = answers

    def fit(self, *_: object) -> None:
        """Nothing to learn."""

    def predict(self, texts: Any, _: object) -> Classified:
        answer = self.answers[texts[0]]
        return Label(answer.names, answer.chosen, answer.probabilities)


def material(knows: float = 1.0, **changes: Any) -> Material:
    splits = {name: questions(400, 100, seed, knows) for seed, name in enumerate(("train", "validation", "test"))}
    given: dict[str, Any] = {
        "answers": lambda split: splits[split][0],
        "gold": lambda split: splits[split][1],
        "texts": lambda split: [split],
        "encoder": None,
        "seen": None,
        "refit": None,
        "units": None,
    }
    return Material(**{**given, **changes})


def test_every_system_is_judged_with_its_own_limit() -> None:
    theirs = {split: questions(400, 100, seed, knows=0.3)[0] for seed, split in ((8, "validation"), (9, "test"))}
    fitted: Any = {"unsure": Unsure(theirs)}
    config, given = Evaluate.Config(), material()
    applied, thresholds, choice = answer_validation(config, given, fitted, "accuracy")
    gold = given.gold("validation")
    assert set(thresholds) == {"tuned", "unsure"}
    assert thresholds["tuned"] != thresholds["unsure"]
    assert choice.value == thresholds["tuned"]
    assert thresholds["unsure"] == choose_thresholds(theirs["validation"], gold, "accuracy", 0.05)[0]
    judged = judge_test(given, fitted, thresholds)
    for name, answer in (("tuned", given.answers("test")), ("unsure", theirs["test"])):
        assert isinstance(answer, Label)
        limit = thresholds[name]["其他"]
        assert judged.systems[name].chosen.tolist() == by_hand(answer, limit)
    off = answer_validation(Evaluate.Config(thresholds="off"), given, fitted, "accuracy")
    assert off[1] == {}
    assert np.array_equal(off[0]["tuned"].chosen, given.answers("validation").chosen)
    assert applied["tuned"].chosen.tolist() != off[0]["tuned"].chosen.tolist()


def test_out_of_fold_each_row_is_refused_by_a_limit_of_the_others() -> None:
    plain = [questions(400, 100, seed) for seed in range(3)]
    probabilities: Floats = np.concatenate([np.asarray(answer.probabilities) for answer, _ in plain])

    def refit(_: Any, rows: Any, __: int) -> Classified:
        return Label(NAMES, probabilities[rows].argmax(axis=1), probabilities[rows])

    given, plan = material(refit=refit), FoldPlan(5, 2, "")
    judged = judge_out_of_fold(Evaluate.Config(), given, (), plan, tell_nobody)
    answer = Label(NAMES, probabilities.argmax(axis=1), probabilities, "其他")
    inside = judged.gold.chosen != REFUSED
    refused = judged.systems["tuned"].chosen == REFUSED
    share = (refused & (answer.chosen != REFUSED) & inside).sum() / inside.sum()
    assert share == pytest.approx(0.05, abs=0.01)
    assert not np.array_equal(judged.systems["tuned"].chosen, answer.chosen)
    assert "for each fold on the rows of the others" in judged.design
    off = judge_out_of_fold(Evaluate.Config(thresholds="off"), given, (), plan, tell_nobody)
    assert np.array_equal(off.systems["tuned"].chosen, answer.chosen)
    assert "no thresholds are used" in off.design


def test_a_label_out_of_scope_without_training_rows_is_no_imbalance() -> None:
    _, gold = questions(400, 0)
    assert choose_primary("auto", gold).value == "accuracy"
    assert choose_primary("auto", replace(gold, out_of_scope=None)).value == "macro_f1"
    _, few = questions(400, 20)
    assert choose_primary("auto", few).value == "macro_f1"
