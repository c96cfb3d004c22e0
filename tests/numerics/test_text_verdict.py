"""The verdict for text by experiment: noise is not called a gain, and a planted gain is found as often as was promised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tunewright.evaluate.checks import check_answers, judge_text
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.resample import sign_flip_p
from tunewright.types import Comparison, Floats, Likelihood, Text, Verdict

Noise = Callable[[np.random.Generator, int], Floats]
NOISES: dict[str, Noise] = {
    "normal": lambda rng, size: rng.normal(0, 5, size),
    "heavy tails": lambda rng, size: rng.standard_t(3, size) * 4,
    "skewed": lambda rng, size: rng.exponential(5, size) - 5,
}


def compared(
    rng: np.random.Generator, noise: Noise, size: int, gain: float, resamples: int = 200
) -> tuple[Comparison, ...]:
    """The tuned model against two opponents whose nats share what makes a dialogue hard and differ by ``noise``."""
    hard = rng.exponential(30, size) + 10
    gold = Text(("x",) * size, np.ones(size, dtype=np.int64), np.ones(size, dtype=bool))
    counts = np.full(size, 10)
    opponents = {name: Likelihood(hard + noise(rng, size) + gain, counts) for name in ("untouched_base", "ngram")}
    tuned = Likelihood(hard, counts)
    return compare(tuned, opponents, gold, "nll_per_dialogue", set(opponents), 0, num_resamples=resamples)


def judged(comparisons: tuple[Comparison, ...]) -> Verdict:
    return judge_text(comparisons, (), False, num_rows=comparisons[0].num_rows, design="")


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("size", [12, 60])
def test_noise_is_rarely_called_a_difference(noise: str, size: int) -> None:
    """Level 0.05, 300 trials of two tests: under 5 % for either sign, with room for skew at so few rows."""
    rng = np.random.default_rng(size)
    trials = [compared(rng, NOISES[noise], size, 0.0) for _ in range(300)]
    significant = np.mean([each.p < 0.05 for trial in trials for each in trial])
    assert significant < (0.12 if noise == "skewed" and size < 30 else 0.085), significant
    outcomes = [judged(trial).outcome for trial in trials]
    assert outcomes.count("better") <= 9, outcomes.count("better")
    assert outcomes.count("no evidence") >= 240


@pytest.mark.parametrize("noise", NOISES)
def test_the_smallest_detectable_difference_is_found_four_times_in_five(noise: str) -> None:
    rng = np.random.default_rng(1)
    smallest = float(
        np.mean([each.smallest_detectable for _ in range(20) for each in compared(rng, NOISES[noise], 100, 0.0)])
    )
    found = [
        each.p < 0.05 and each.difference < 0
        for _ in range(150)
        for each in compared(rng, NOISES[noise], 100, smallest)
    ]
    assert 0.7 < np.mean(found) < 0.92, np.mean(found)


def test_a_clear_gain_is_better_and_a_clear_loss_worse() -> None:
    rng = np.random.default_rng(2)
    assert judged(compared(rng, NOISES["normal"], 100, 4.0)).outcome == "better"
    assert judged(compared(rng, NOISES["normal"], 100, -4.0)).outcome == "worse"


def test_random_signs_are_exact_where_they_can_all_be_tried() -> None:
    assert sign_flip_p(np.array([1.0, 2.0, 3.0]), 100, 0) == pytest.approx(2 / 8)
    assert sign_flip_p(np.array([1.0]), 100, 0) == 1.0
    assert sign_flip_p(np.zeros(5), 100, 0) == 1.0
    assert sign_flip_p(np.array([3.0, -1.0, 2.0, 2.0]), 100, 0) == pytest.approx(4 / 16)
    ties = np.array([5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 0.0])
    assert sign_flip_p(ties, 100, 0) == pytest.approx(2 / 64)


def test_random_signs_agree_with_scipys_permutations() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(3)
    for size in (9, 40):
        differences = rng.normal(1.2, 4, size)
        expected = permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
        ).pvalue
        assert sign_flip_p(differences, 20_000, 0) == pytest.approx(expected, abs=0.02)


def test_answers_no_worse_than_the_base_pass_and_worse_ones_are_found() -> None:
    """Non-inferiority in chrF: the same quality passes with enough rows, three points less is noticed."""
    config = Evaluate.Config(resamples=300)

    def answers(share: float, seed: int, size: int = 200) -> Text:
        rng = np.random.default_rng(seed)
        texts = []
        for row in range(size):
            words = [f"词{row}", "reference", "answer", "number", str(row), "of", "many", "回答"]
            kept = [word if rng.random() < share else "other" for word in words]
            texts.append(" ".join(kept))
        return Text(tuple(texts), np.full(size, 20), np.ones(size, dtype=bool))

    gold = answers(1.0, 0)
    passed, behind = [], []
    for seed in range(6):
        base = answers(0.7, 2 * seed + 1)
        checks, is_behind = check_answers(config, answers(0.75, 2 * seed + 2), base, gold)
        passed.append(next(check.passed for check in checks if check.name == "chrf_difference"))
        assert not is_behind
        behind.append(check_answers(config, answers(0.55, 2 * seed + 2), base, gold)[1])
    assert sum(passed) >= 5
    assert all(behind)
