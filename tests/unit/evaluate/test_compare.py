"""Comparisons on planted agreement and disagreement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunewright.errors import InputError
from tunewright.evaluate.compare import compare
from tunewright.evaluate.resample import holm
from tunewright.types import Bools, Label, Labels

SCHEMA = ("no", "yes")


def planted(both: int, only_tuned: int, only_other: int, neither: int) -> tuple[Label, Label, Label]:
    """Tuned, opponent and gold with these numbers of rows right, over alternating gold labels."""
    tuned = np.repeat([True, True, False, False], [both, only_tuned, only_other, neither])
    other = np.repeat([True, False, True, False], [both, only_tuned, only_other, neither])
    gold = np.arange(len(tuned)) % 2
    return answering(gold, tuned), answering(gold, other), Label(SCHEMA, gold)


def answering(gold: np.ndarray, right: Bools) -> Label:
    return Label(SCHEMA, np.where(right, gold, 1 - gold))


def test_accuracy_is_decided_by_mcnemar() -> None:
    tuned, other, gold = planted(800, 90, 40, 70)
    [found] = compare(tuned, {"nb_svm": other}, gold, "accuracy", {"nb_svm"}, seed=0)
    assert (found.tuned, found.opponent) == (0.89, 0.84)
    assert found.difference == pytest.approx(0.05)
    assert found.p == pytest.approx(stats.binomtest(40, 130).pvalue)
    assert found.num_discordant == 130
    assert found.test.startswith("exact McNemar")
    assert found.smallest_detectable == pytest.approx(2.8 * (0.13 / 1000) ** 0.5)
    assert found.required
    error = ((0.13 - 0.05**2) / 1000) ** 0.5
    assert found.interval == pytest.approx((0.05 - 1.96 * error, 0.05 + 1.96 * error), abs=0.002)


def test_other_metrics_are_decided_by_the_paired_bootstrap() -> None:
    tuned, other, gold = planted(400, 60, 10, 30)
    [found] = compare(tuned, {"x": other}, gold, "macro_f1", (), seed=0, num_resamples=2000)
    assert found.test == "paired bootstrap, 2,000 resamples"
    assert found.p == pytest.approx(2 / 2001)
    assert found.interval[0] > 0
    assert not found.required


def test_the_comparison_is_paired() -> None:
    """Two systems that disagree on few rows are told apart on rows where unpaired intervals would overlap."""
    tuned, other, gold = planted(150, 12, 0, 138)
    [found] = compare(tuned, {"x": other}, gold, "macro_f1", (), seed=0, num_resamples=2000)
    assert found.p < 0.01
    unpaired = 1.96 * (2 * 0.25 / 300) ** 0.5
    assert found.difference < unpaired


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_systems_that_never_disagree(metric: str) -> None:
    tuned, _, gold = planted(80, 0, 0, 20)
    [found] = compare(tuned, {"same": tuned}, gold, metric, (), seed=0, num_resamples=500)
    assert (found.difference, found.p, found.interval, found.num_discordant) == (0.0, 1.0, (0.0, 0.0), 0)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_single_row(metric: str) -> None:
    tuned, other, gold = planted(0, 1, 0, 0)
    [found] = compare(tuned, {"x": other}, gold, metric, (), seed=0, num_resamples=500)
    assert found.difference == 1.0
    assert found.p == 1.0 if metric == "accuracy" else found.p > 0
    assert found.num_rows == 1


def test_holm_runs_over_all_opponents() -> None:
    tuned, other, gold = planted(800, 90, 60, 50)
    weak = answering(gold.chosen, np.arange(1000) % 3 > 0)
    found = compare(tuned, {"a": other, "b": weak, "c": tuned}, gold, "accuracy", {"a"}, seed=0, num_resamples=500)
    assert [each.against for each in found] == ["a", "b", "c"]
    assert [each.p_holm for each in found] == pytest.approx(list(holm([each.p for each in found])))
    assert found[0].p_holm == pytest.approx(2 * found[0].p)
    assert [each.required for each in found] == [True, False, False]


def test_partial_rows_make_everything_less_certain() -> None:
    tuned, other, gold = planted(800, 90, 60, 50)
    [whole] = compare(tuned, {"x": other}, gold, "accuracy", (), seed=0)
    [part] = compare(tuned, {"x": other}, gold, "accuracy", (), seed=0, share=0.44)
    assert part.difference == whole.difference
    assert part.p > whole.p
    widths = [each.interval[1] - each.interval[0] for each in (whole, part)]
    assert widths[1] / widths[0] == pytest.approx(1 / 0.44**0.5, rel=0.05)
    assert part.smallest_detectable / whole.smallest_detectable == pytest.approx(1 / 0.44**0.5)
    assert "each row counted as 0.44" in part.test


def test_several_labels_per_row() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((300, 3)) < 0.5
    tuned, other = (Labels(("a", "b", "c"), right ^ (rng.random((300, 3)) < noise)) for noise in (0.1, 0.3))
    for metric in ("micro_f1", "subset_accuracy", "hamming_loss"):
        [found] = compare(tuned, {"x": other}, Labels(("a", "b", "c"), right), metric, (), seed=0, num_resamples=500)
        assert found.p < 0.01
        assert (found.difference < 0) == (metric == "hamming_loss")


def test_an_undefined_metric_is_refused() -> None:
    gold = Label(SCHEMA, np.zeros(5, dtype=np.int64))
    with pytest.raises(InputError, match="undefined on the judged rows"):
        compare(gold, {"x": gold}, gold, "mcc", (), seed=0)


def test_no_opponents_no_comparisons() -> None:
    gold = Label(SCHEMA, np.zeros(5, dtype=np.int64))
    assert compare(gold, {}, gold, "accuracy", (), seed=0) == ()
