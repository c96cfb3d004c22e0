"""The verb for text: who wins, which part fails, what is shown, and every edge on which a verdict must not be invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from tunewright.errors import InputError
from tunewright.evaluate.checks import check_against, name_checks
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.retention import retention
from tunewright.types import Report, Text


def check(report: Report, name: str) -> Any:
    return next(one for one in report.verdict.checks if one.name == name)


def vague(reference: str, row: int) -> str:
    return "I am not sure what you mean by that, 对不起。"


def looping(reference: str, row: int) -> str:
    return "我知道我知道" * 6


def test_a_model_that_wins_everything_is_better(bench: Any) -> None:
    systems = {
        "tuned": bench.system(60.0),
        "untouched_base": bench.system(0.0, vague),
        "few_shot": bench.system(5.0, vague),
    }
    report = bench.judge(systems)
    verdict = report.verdict
    assert verdict.outcome == "better", verdict.sentence
    assert verdict.metric == "nll_per_dialogue"
    assert "better, and its own answers pass all 6 checks. It needs " in verdict.sentence
    assert {one.name for one in verdict.checks} == {
        "answers", "stop_rate", "repetition", "length_ratio", "chrf_difference", "retention_en",
    }  # fmt: skip
    assert all(one.passed and one.why and one.limit for one in verdict.checks)
    assert [one.against for one in verdict.comparisons] == ["untouched_base", "few_shot", "ngram"]
    required = {one.against for one in verdict.comparisons if one.required}
    assert "untouched_base" in required
    assert len(required) == 2
    assert set(report.systems) == {"tuned", "untouched_base", "few_shot", "ngram"}
    assert report.systems["tuned"]["chrf"] == pytest.approx(1.0)
    assert "perplexity" not in report.systems["ngram"]
    assert report.diagnosis.cause == "fine"
    assert report.diagnosis.next_command == "tunewright chat RUN"
    assert {measure.name for measure in report.measures} >= {"nll_per_dialogue", "chrf", "stop_rate", "perplexity"}
    paths = {choice.path for choice in report.choices}
    assert paths == {"evaluate.metric", "evaluate.ngram_order", "evaluate.strongest_baseline"}


def test_every_system_is_asked_about_the_same_rows(bench: Any) -> None:
    systems = {"tuned": bench.system(60.0), "untouched_base": bench.system(0.0, vague)}
    report = bench.judge(systems, generated_rows=20)
    first, second = (systems[name].asked for name in systems)
    assert len(first) == len(second) == 1
    assert np.array_equal(first[0], second[0])
    assert len(first[0]) == 20
    assert check(report, "answers").value == 20
    shown = report.answered
    assert {row.index for row in shown} <= set(first[0].tolist())
    assert shown[0].answers == {"tuned": shown[0].reference, "untouched_base": vague("", 0)}
    assert set(shown[0].nll) == {"tuned", "untouched_base", "ngram"}


@pytest.mark.parametrize(
    ("tuned", "failing", "cause"),
    [
        ({"stops": 0.9}, "stop_rate", "does not stop"),
        ({"write": looping}, "repetition", "repeats itself"),
        ({"write": lambda reference, row: reference[:8]}, "length_ratio", "under-fit"),
        (
            {"write": lambda reference, row: reference + "，" + "".join(map(chr, range(0x4E00, 0x4E50)))},
            "length_ratio",
            "under-fit",
        ),
    ],
)
def test_a_better_predictor_that_answers_badly_is_not_better(
    bench: Any, tuned: dict[str, Any], failing: str, cause: str
) -> None:
    report = bench.judge({"tuned": bench.system(60.0, **tuned), "untouched_base": bench.system(0.0, lambda a, b: "?")})
    assert report.verdict.outcome == "no evidence"
    assert [one.name for one in report.verdict.checks if not one.passed] == [failing]
    assert report.verdict.sentence.startswith("No evidence: the tuned model predicts held-out answers better, but")
    assert report.diagnosis.cause == cause


def test_what_was_forgotten_stops_the_verdict(bench: Any) -> None:
    systems = {"tuned": bench.system(60.0), "untouched_base": bench.system(0.0, vague)}
    report = bench.judge(systems, retention=lambda language: retention(1000.0, 1000.0 + 350 * np.log(3), 350))
    assert report.verdict.outcome == "no evidence"
    failed = [one.name for one in report.verdict.checks if not one.passed]
    assert failed == ["retention_en", "retention_zh"]
    assert check(report, "retention_en").value == pytest.approx(3.0)
    assert report.diagnosis.cause == "forgot too much"
    assert report.diagnosis.next_command == "tunewright run RECIPE train.epochs=1"
    assert (
        bench.judge(
            systems, retention_limit=4.0, retention=lambda language: retention(1e3, 1e3 + 350, 350)
        ).verdict.outcome
        == "better"
    )


def test_a_language_that_the_base_never_knew_is_not_asked_for(bench: Any) -> None:
    systems = {"tuned": bench.system(60.0), "untouched_base": bench.system(0.0, vague)}
    report = bench.judge(systems, retention=lambda language: retention(9000.0, 19000.0, 400))
    assert report.verdict.outcome == "better"
    assert not [one for one in report.verdict.checks if one.name.startswith("retention")]
    retained: Any = report.figures["retention"]
    assert set(retained) == {"en", "zh"}


def test_lost_likelihood_is_worse_and_so_is_lost_chrf(bench: Any) -> None:
    lost = bench.judge({"tuned": bench.system(-20.0), "untouched_base": bench.system(0.0)})
    assert lost.verdict.outcome == "worse"
    assert "predicts held-out answers worse" in lost.verdict.sentence
    behind = bench.judge({"tuned": bench.system(60.0, vague), "untouched_base": bench.system(0.0)})
    assert behind.verdict.outcome == "worse"
    assert "chrF" in behind.verdict.sentence


def test_what_was_beaten_is_said_where_another_was_not(bench: Any) -> None:
    tuned = bench.system(60.0)
    report = bench.judge({"tuned": tuned, "untouched_base": bench.system(0.0, vague), "few_shot": tuned})
    assert report.verdict.outcome == "no evidence"
    assert report.verdict.sentence.startswith(
        "No evidence: the tuned model predicts held-out answers better than the untouched base, but is not shown to predict "
        "them better than the base shown examples, although its own answers pass all 6 checks. It needs "
    )
    assert "for the untouched base" not in report.verdict.sentence


def test_identical_systems_give_no_evidence(bench: Any) -> None:
    same = bench.system(60.0)
    report = bench.judge({"tuned": same, "untouched_base": same})
    assert report.verdict.outcome == "no evidence"
    comparison = report.verdict.comparisons[0]
    assert (comparison.p, comparison.difference, comparison.num_discordant) == (1.0, 0.0, 0)
    few = bench.judge({"tuned": same, "untouched_base": same, "few_shot": bench.system(70.0)})
    assert few.verdict.sentence.partition(": ")[2].startswith(
        "the tuned model predicts held-out answers worse, although"
    )
    drawn: Any = report.figures["nll_differences"]
    assert drawn["tied"] == 60
    assert [row for row in report.answered if row.is_worst] == []


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_handful_of_dialogues_is_no_evidence_however_clear(make_bench: Callable[..., Any], size: int) -> None:
    few = make_bench({"train": 3, "validation": 2, "test": size})
    systems = {"tuned": few.system(100.0, spread=0.0), "untouched_base": few.system(0.0, vague, spread=0.0)}
    report = few.judge(systems)
    assert report.verdict.outcome == "no evidence"
    assert min(one.p for one in report.verdict.comparisons) >= 2.0 ** (1 - size)
    assert not check(report, "answers").passed


def test_without_validation_rows_every_baseline_has_to_be_beaten(make_bench: Callable[..., Any]) -> None:
    bench = make_bench({"train": 60, "validation": 0, "test": 40})
    report = bench.judge(
        {"tuned": bench.system(60.0), "untouched_base": bench.system(0.0, vague), "few_shot": bench.system(1.0)}
    )
    assert [one.required for one in report.verdict.comparisons] == [True, True, True]
    assert report.validation == {}


def test_without_generated_answers_nothing_is_called_better(bench: Any) -> None:
    systems = {"tuned": bench.system(60.0), "untouched_base": bench.system(0.0, vague)}
    report = bench.judge(systems, generated_rows=0)
    assert report.verdict.outcome == "no evidence"
    assert "answers (0, needed at least 10)" in report.verdict.sentence
    assert systems["tuned"].asked == []
    assert "lengths" not in report.figures
    silent = bench.judge({"tuned": bench.system(60.0, None), "untouched_base": bench.system(0.0, None)})
    assert silent.verdict.outcome == "no evidence"


def test_references_longer_than_the_limit_lower_what_can_be_asked(bench: Any) -> None:
    report = bench.judge(
        {"tuned": bench.system(60.0, stops=0.5), "untouched_base": bench.system(0.0, vague)}, max_new_tokens=14
    )
    assert check(report, "stop_rate").limit == "at least 0.0 %"
    assert "max_new_tokens" in check(report, "stop_rate").why


def test_empty_answers_fail_on_length_and_break_nothing(bench: Any) -> None:
    report = bench.judge(
        {"tuned": bench.system(60.0, lambda a, b: ""), "untouched_base": bench.system(0.0, lambda a, b: "")}
    )
    assert not check(report, "length_ratio").passed
    assert check(report, "chrf_difference").value == 0.0
    assert report.systems["tuned"]["chrf"] == 0.0


def test_a_broken_likelihood_is_named(bench: Any) -> None:
    broken = bench.system(0.0)
    broken.nats["test"][3] = np.nan
    with pytest.raises(InputError, match="1 of 60 test dialogues"):
        bench.judge({"tuned": broken, "untouched_base": bench.system(0.0)})


def test_a_metric_that_cannot_decide_is_refused(bench: Any) -> None:
    with pytest.raises(InputError, match="nll_per_dialogue"):
        bench.judge({"tuned": bench.system(0.0), "untouched_base": bench.system(0.0)}, metric="chrf")


def test_no_rows_are_refused(make_bench: Callable[..., Any]) -> None:
    for split in ("train", "test"):
        empty = make_bench({"train": 5, "validation": 5, "test": 5, split: 0})
        with pytest.raises(InputError, match=f"no {split} rows"):
            empty.judge({"tuned": empty.system(0.0), "untouched_base": empty.system(0.0)})


def test_the_worst_rows_are_those_that_lost_most_to_the_base(bench: Any) -> None:
    tuned, base = bench.system(60.0), bench.system(0.0, vague)
    tuned.nats["test"][7] = base.nats["test"][7] + 50
    report = bench.judge({"tuned": tuned, "untouched_base": base})
    worst = [row for row in report.answered if row.is_worst]
    assert worst[0].index == 7
    assert len(report.answered) <= 20
    assert asdict(worst[0])["nll"]["tuned"] == pytest.approx(tuned.nats["test"][7])


@pytest.mark.parametrize("question", ["Tell me a joke", "讲个笑话"])
def test_a_question_is_shown_once_by_the_dialogue_that_lost_most(bench: Any, question: str) -> None:
    tuned, base = bench.system(60.0), bench.system(0.0, vague)
    prompts = [f"question {row}" for row in range(60)]
    for row, lost in ((7, 50), (9, 70), (20, 60), (30, 40)):
        tuned.nats["test"][row] = base.nats["test"][row] + lost
        prompts[row] = question if row != 30 else "another"
    prompts[40] = f" {question.upper()} "
    report = bench.judge({"tuned": tuned, "untouched_base": base}, prompts=prompts)
    assert [row.index for row in report.answered if row.is_worst] == [9, 30]
    asked = [row.prompt for row in report.answered]
    assert len(asked) == 12
    assert not {7, 20, 40} & {row.index for row in report.answered}


def test_the_same_rows_give_the_same_report(bench: Any) -> None:
    def judged() -> Report:
        return bench.judge({"tuned": bench.system(3.0), "untouched_base": bench.system(0.0, vague)})  # type: ignore[no-any-return]

    assert judged() == judged()


def test_a_rival_is_lost_to_only_where_its_answers_agree_more() -> None:
    gold = Text(
        tuple(f"这是第{number}个回答, number {number}" for number in range(30)),
        np.ones(30, np.int64),
        np.ones(30, bool),
    )
    wrong = Text(("zz",) * 30, gold.num_tokens, gold.stopped)
    config = Evaluate.Config(resamples=200)
    for tuned, rival, passed in ((gold, wrong, True), (gold, gold, True), (wrong, gold, False)):
        checks = check_against(config, tuned, rival, gold, "the live version 3")
        assert [(each.name, each.passed) for each in checks] == [("answers", True), ("chrf_difference", passed)]
        assert "the live version 3" in checks[1].why
    few = np.arange(9)
    [only] = check_against(config, gold.take(few), gold.take(few), gold.take(few), "live")
    assert (only.name, only.passed) == ("answers", False)
    assert name_checks([only]) == "answers (9, needed at least 10)"
