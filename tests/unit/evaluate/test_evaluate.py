"""The verb from answers to Report: what is fitted, chosen and judged on which rows, and what happens at the edges."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tunewright.errors import InputError
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.evaluate import SEEN_ROWS, evaluate
from tunewright.types import Choice, Classified, Floats, Ints, Label, Labels, Report

BASELINES = ("majority", "tfidf_lr", "nb_svm", "untouched_base")
METRICS = ("accuracy", "macro_f1", "micro_f1", "roc_auc", "log_loss", "ece", "subset_accuracy")
GOOD, BAD, PLAIN = "fine lovely great warm", "dull awful poor cold", "the film was and it a plot with some of"
CHINESE = ("好看 喜欢 精彩 推荐", "难看 失望 无聊 差评", "这 本 书 的 了 内容 作者 我")


@dataclass(frozen=True)
class Case:
    """Texts and gold of three splits, and a stand-in for the tuned model that is right with some probability."""

    texts: dict[str, list[str]]
    gold: dict[str, Classified]
    right: float = 0.95
    seed: int = 0

    def answers(self, split: str) -> Classified:
        gold = self.gold[split]
        rng = np.random.default_rng([self.seed, len(split)])
        if isinstance(gold, Labels):
            given = gold.chosen ^ (rng.random(gold.chosen.shape) > self.right)
            return Labels(gold.names, given, np.where(given, 0.9, 0.1))
        wrong = rng.integers(1, len(gold.names), len(gold))
        chosen = np.where(rng.random(len(gold)) < self.right, gold.chosen, (gold.chosen + wrong) % len(gold.names))
        probabilities = np.full((len(gold), len(gold.names)), 0.1 / (len(gold.names) - 1))
        probabilities[np.arange(len(gold)), chosen] = 0.9
        return Label(gold.names, chosen, probabilities)

    def report(self, config: dict[str, Any] | None = None, **changes: Any) -> Report:
        given: dict[str, Any] = {
            "answers": self.answers,
            "gold": self.gold.__getitem__,
            "texts": self.texts.__getitem__,
            "metrics": METRICS,
            "baselines": BASELINES,
            "encoder": encode,
            "curves": Curves(train_loss=(0.7, 0.3), validation_metric=(0.8, 0.9), epochs=2, seconds_per_example=0.001),
            "command": "tunewright run r.yaml",
            **changes,
        }
        given.setdefault("seen", lambda rows: given["answers"]("train").take(rows))
        return evaluate(Evaluate.Config(**{"resamples": 300, **(config or {})}), **given)


def encode(texts: Sequence[str]) -> Floats:
    return np.array([[text.count(c) for c in "aeilorstu好差看的"] + [1.0] for text in texts], dtype=np.float64)


def write(label: int, rng: np.random.Generator, chinese: bool, clear: float) -> str:
    good, bad, plain = (part.split() for part in (CHINESE if chinese else (GOOD, BAD, PLAIN)))
    telling = (bad, good)[label] if rng.random() < clear else (bad, good)[int(rng.integers(2))]
    words = [*rng.choice(plain, 5), *rng.choice(telling, 1)]
    rng.shuffle(words)
    return ("" if chinese else " ").join(words)


def case(
    sizes: tuple[int, int, int] = (300, 120, 240),
    *,
    share: float = 0.5,
    chinese: bool = False,
    clear: float = 0.5,
    **how: Any,
) -> Case:
    rng = np.random.default_rng(7)
    names = ("差评", "好评") if chinese else ("neg", "pos")
    texts, gold = {}, {}
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
        chosen = (rng.random(size) < share).astype(np.int64)
        texts[split] = [write(label, rng, chinese, clear) for label in chosen]
        gold[split] = Label(names, chosen)
    return Case(texts, dict(gold), **how)


def case_of_several() -> Case:
    rng = np.random.default_rng(3)
    texts, gold = {}, {}
    for split, size in (("train", 250), ("validation", 100), ("test", 200)):
        chosen = rng.random((size, 3)) < (0.4, 0.3, 0.2)
        texts[split] = [
            " ".join(
                ["it", *np.array(["rain", "wind", "snow"])[row & (rng.random(3) < 0.8)], str(rng.choice(PLAIN.split()))]
            )
            for row in chosen
        ]
        gold[split] = Labels(("rain", "snow", "wind"), chosen[:, [0, 2, 1]])
    return Case(texts, dict(gold), right=0.97)


def choice(report: Report, path: str) -> Choice:
    return next(each for each in report.choices if each.path == path)


@pytest.mark.parametrize("chinese", [False, True], ids=["english", "chinese"])
def test_a_model_that_is_better_is_called_better(chinese: bool) -> None:
    report = case(chinese=chinese).report()
    assert report.verdict.outcome == "better"
    assert report.judged_on == "test"
    assert report.num_rows == 240
    assert report.verdict.sentence.startswith("Better: 9")
    assert [each.against for each in report.verdict.comparisons if each.required] == [
        name for name in BASELINES if name in ("untouched_base", choice(report, "evaluate.strongest_baseline").value)
    ]
    assert set(report.systems) == set(report.validation) == {"tuned", *BASELINES}
    assert set(report.systems["tuned"]) == {"accuracy", "macro_f1", "micro_f1", "roc_auc", "log_loss", "ece"}
    assert report.diagnosis.cause == "fine"


def test_a_model_that_is_worse_is_called_worse() -> None:
    report = case(clear=1.0, right=0.6).report()
    assert report.verdict.outcome == "worse"
    assert report.diagnosis.cause == "under-fit"
    assert report.diagnosis.next_command == "tunewright run r.yaml train.epochs=4"


def test_a_model_that_is_as_good_gives_no_evidence() -> None:
    report = case(clear=0.8, right=0.88).report()
    assert report.verdict.outcome == "no evidence"


def test_the_report_is_json_and_the_same_twice() -> None:
    first, second = (json.dumps(dataclasses.asdict(case().report()), allow_nan=False, sort_keys=True) for _ in range(2))
    assert first == second


def test_several_labels_per_row() -> None:
    report = case_of_several().report()
    assert report.verdict.metric == "micro_f1"
    assert set(report.systems["tuned"]) == {"micro_f1", "macro_f1", "subset_accuracy", "roc_auc", "log_loss"}
    assert report.verdict.outcome == "better"
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_nothing_is_chosen_on_the_judged_rows() -> None:
    """With the test labels scrambled, every choice and threshold is what it was."""
    plain = case(share=0.15, clear=0.9)
    scrambled = dict(plain.gold)
    scrambled["test"] = Label(("neg", "pos"), 1 - plain.gold["test"].chosen)
    answers = plain.answers
    first, second = plain.report(), Case(plain.texts, scrambled).report(answers=answers)
    assert first.choices == second.choices
    assert first.thresholds == second.thresholds
    assert first.validation == second.validation
    assert first.systems != second.systems


def test_baselines_learn_from_the_training_rows_alone() -> None:
    """With other validation and test texts the baselines still answer the old test texts as before."""
    plain = case(sizes=(300, 120, 240))
    again = Case({**plain.texts, "validation": ["x"] * 120}, plain.gold)
    first, second = plain.report(), again.report()
    assert {name: first.systems[name] for name in BASELINES} == {name: second.systems[name] for name in BASELINES}


def test_the_strongest_baseline_is_the_one_of_validation_not_of_test() -> None:
    report = case(clear=0.7).report()
    accuracy = {name: report.validation[name]["accuracy"] or 0.0 for name in BASELINES if name != "untouched_base"}
    assert accuracy[str(choice(report, "evaluate.strongest_baseline").value)] == max(accuracy.values())


def test_rare_labels_get_macro_f1_and_thresholds_for_every_system() -> None:
    plain = case(share=0.12, clear=0.9, sizes=(500, 300, 400))

    def timid(split: str) -> Classified:
        positive = (
            0.1
            + 0.2 * plain.gold[split].chosen
            + 0.1 * np.random.default_rng(len(split)).random(len(plain.gold[split]))
        )
        probabilities = np.stack([1 - positive, positive], axis=1)
        return Label(("neg", "pos"), probabilities.argmax(axis=1), probabilities)

    report = plain.report(answers=timid)
    assert report.verdict.metric == "macro_f1"
    assert "imbalanced" in choice(report, "evaluate.metric").reason
    assert 0.2 <= report.thresholds["pos"] <= 0.3
    assert report.systems["tuned"]["macro_f1"] == 1.0
    without = plain.report({"thresholds": "off"}, answers=timid)
    assert without.thresholds == {}
    assert (without.systems["tuned"]["macro_f1"] or 0) < 0.5
    assert without.systems["tfidf_lr"]["macro_f1"] != report.systems["tfidf_lr"]["macro_f1"]


def refit_on(plain: Case, calls: list[tuple[Ints, Ints, int]]) -> Callable[[Ints, Ints, int], Classified]:
    everything = {split: plain.answers(split) for split in ("train", "validation", "test")}
    chosen = np.concatenate([answer.chosen for answer in everything.values()])
    probabilities = np.concatenate([np.asarray(answer.probabilities) for answer in everything.values()])

    def refit(train_rows: Ints, test_rows: Ints, repeat: int) -> Classified:
        calls.append((train_rows, test_rows, repeat))
        return Label(("neg", "pos"), chosen[test_rows], probabilities[test_rows])

    return refit


def test_small_data_are_judged_out_of_fold_on_all_rows() -> None:
    plain = case(sizes=(200, 60, 80))
    calls: list[tuple[Ints, Ints, int]] = []
    report = plain.report({"out_of_fold_seconds": 8.0}, refit=refit_on(plain, calls))
    assert report.judged_on == "out-of-fold"
    assert report.num_rows == 340
    assert len(calls) == 10, "5 folds at 340 * (4 * 2 + 1/3) ms fit 8 s twice"
    assert sorted(np.concatenate([test for _, test, repeat in calls if repeat == 0]).tolist()) == list(range(340))
    gold = np.concatenate([plain.gold[split].chosen for split in ("train", "validation", "test")])
    answered = np.concatenate([plain.answers(split).chosen for split in ("train", "validation", "test")])
    assert report.systems["tuned"]["accuracy"] == pytest.approx((gold == answered).mean())
    assert "Nadeau & Bengio 2003" in report.verdict.design
    assert "340 out-of-fold rows" in report.verdict.sentence
    assert "counted as 0.44" in report.verdict.comparisons[0].test
    assert report.verdict.outcome == "better"


@pytest.mark.parametrize(
    ("config", "has_refit", "reason"),
    [
        ({"out_of_fold": False}, True, "switched off"),
        ({}, False, "cannot be trained again"),
        ({"out_of_fold_rows": 100}, True, "enough for a held-out split"),
        ({"out_of_fold_seconds": 0.1}, True, "even two folds"),
    ],
)
def test_otherwise_the_test_split_is_judged_and_it_says_why(
    config: dict[str, Any], has_refit: bool, reason: str
) -> None:
    plain = case(sizes=(200, 60, 80))
    report = plain.report(config, refit=refit_on(plain, []) if has_refit else None)
    assert report.judged_on == "test"
    assert report.num_rows == 80
    assert reason in choice(report, "evaluate.out_of_fold").reason


def test_units_stay_together_in_folds() -> None:
    plain = case(sizes=(200, 60, 80))
    calls: list[tuple[Ints, Ints, int]] = []
    units = {"train": np.arange(200) // 4, "validation": 100 + np.arange(60) // 4, "test": 200 + np.arange(80) // 4}
    plain.report({"out_of_fold_seconds": 4.0}, refit=refit_on(plain, calls), units=units.__getitem__)
    unit_of = np.concatenate(list(units.values()))
    for train, test, _ in calls:
        assert not set(unit_of[train]) & set(unit_of[test])


def test_without_an_encoder_it_cannot_say_better() -> None:
    report = case().report(encoder=None)
    assert "untouched_base" not in report.systems
    assert report.verdict.outcome == "no evidence"
    assert "needs a comparison with the untouched base" in report.verdict.sentence
    assert "no embeddings" in choice(report, "evaluate.baselines").reason


def test_an_encoder_is_asked_for_each_text_once() -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Floats:
        asked.extend(texts)
        return encode(texts)

    case().report({"baselines": ["untouched_base", "frozen_probe", "majority"]}, encoder=counting)
    assert len(asked) == len(set(asked))


def test_no_baselines_no_evidence() -> None:
    report = case().report({"baselines": []})
    assert report.verdict.outcome == "no evidence"
    assert report.verdict.comparisons == ()
    assert "nothing to compare with" in report.verdict.sentence


def test_without_validation_rows_every_baseline_has_to_be_beaten() -> None:
    plain = case(sizes=(300, 0, 240))
    report = plain.report()
    assert report.validation == {}
    assert all(each.required for each in report.verdict.comparisons)
    assert report.verdict.outcome == "better"


def test_a_primary_that_is_undefined_on_the_judged_rows_gives_way() -> None:
    plain = case()
    one_label = {**plain.gold, "test": Label(("neg", "pos"), np.zeros(240, dtype=np.int64))}
    report = Case(plain.texts, one_label).report({"metric": "roc_auc"})
    assert report.verdict.metric == "accuracy"
    assert choice(report, "evaluate.metric").reason == "roc_auc is undefined on the 240 judged rows"


def test_one_judged_row_is_no_evidence() -> None:
    plain = case(sizes=(200, 60, 1))
    report = plain.report()
    assert report.verdict.outcome == "no evidence"
    json.dumps(dataclasses.asdict(report), allow_nan=False)


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_rows_is_an_error(split: str) -> None:
    sizes = (0, 60, 80) if split == "train" else (200, 60, 0)
    with pytest.raises(InputError, match=f"no {split} rows"):
        case(sizes=sizes).report()


@pytest.mark.parametrize(
    ("config", "hint"),
    [({"metric": "acuracy"}, "did you mean accuracy?"), ({"baselines": ["nb_svn"]}, "did you mean nb_svm?")],
)
def test_an_unknown_name_gets_the_nearest(config: dict[str, Any], hint: str) -> None:
    with pytest.raises(InputError) as caught:
        case(sizes=(40, 20, 20)).report(config)
    assert caught.value.hint == hint


def test_a_metric_for_other_answers_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        case(sizes=(40, 20, 20)).report({"metric": "hamming_loss"})
    assert caught.value.where == "evaluate.metric"
    assert "macro_f1" in caught.value.allowed
    assert "subset_accuracy" not in caught.value.allowed


def test_a_baseline_asked_for_by_name_needs_its_encoder() -> None:
    with pytest.raises(InputError) as caught:
        case(sizes=(40, 20, 20)).report({"baselines": ["untouched_base"]}, encoder=None)
    assert caught.value.given == "untouched_base"


def test_flipped_labels_end_as_label_trouble() -> None:
    """A fifth of the labels is wrong everywhere; model and baseline both know better."""
    plain = case(sizes=(600, 300, 300), clear=1.0)
    rng = np.random.default_rng(0)
    noisy: dict[str, Classified] = {
        split: Label(gold.names, np.where(rng.random(len(gold)) < 0.2, 1 - gold.chosen, gold.chosen))
        for split, gold in plain.gold.items()
    }
    knowing = Case(plain.texts, plain.gold, right=0.97).answers
    report = Case(plain.texts, noisy).report(answers=knowing)
    assert report.diagnosis.cause == "label trouble"
    assert report.diagnosis.next_command == "tunewright run r.yaml report.rows=text"


def test_a_sample_of_the_training_rows_is_answered_for_the_diagnosis() -> None:
    plain, asked = case(sizes=(1200, 120, 240)), []

    def seen(rows: Ints) -> Classified:
        asked.append(rows)
        return plain.answers("train").take(rows)

    plain.report(seen=seen)
    assert [len(rows) for rows in asked] == [SEEN_ROWS]
    assert len(np.unique(asked[0])) == SEEN_ROWS
    assert asked[0].max() > SEEN_ROWS


def test_memorising_a_small_file_ends_as_too_few_rows() -> None:
    plain = case(sizes=(60, 100, 200), clear=0.3)

    def memorising(split: str) -> Classified:
        return Case(plain.texts, plain.gold, right=1.0 if split == "train" else 0.6).answers(split)

    report = plain.report(answers=memorising)
    assert report.diagnosis.cause == "too few rows"


def test_memorising_a_large_file_ends_as_over_fit() -> None:
    plain = case(sizes=(400, 200, 400), clear=0.3)

    def memorising(split: str) -> Classified:
        return Case(plain.texts, plain.gold, right=1.0 if split == "train" else 0.62).answers(split)

    curves = Curves(train_loss=(0.7, 0.01), validation_metric=(0.60, 0.66, 0.62, 0.61), epochs=4)
    report = plain.report(answers=memorising, curves=curves)
    assert report.diagnosis.cause == "over-fit"
    assert report.diagnosis.next_command == "tunewright run r.yaml train.epochs=2"


def test_worst_rows_are_numbered_in_the_judged_rows() -> None:
    plain = case()
    report = plain.report({"worst_rows": 3})
    wrong = np.flatnonzero(plain.answers("test").chosen != plain.gold["test"].chosen)
    assert [row.index for row in report.worst] == wrong[:3].tolist()
