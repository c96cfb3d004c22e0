"""The general texts, what is computed on them, and which examples a prompted base is shown."""

from __future__ import annotations

import math

import pytest

from tunewright.evaluate.few_shot import choose_examples
from tunewright.evaluate.retention import LANGUAGES, bits_per_byte, check_retention, general_text, retention


def test_the_texts_are_prose_of_their_language() -> None:
    assert LANGUAGES == ("en", "zh")
    english, chinese = map(general_text, LANGUAGES)
    assert len(english) > 1500
    assert english.isascii()
    han = sum("\u4e00" <= character <= "\u9fff" for character in chinese)
    assert han > 0.8 * len(chinese) > 700
    assert all(text.count("\n\n") >= 6 for text in (english, chinese))


def test_perplexities_and_their_ratio() -> None:
    found = retention(100 * math.log(20), 100 * math.log(30), 100)
    assert (found.before, found.after, found.ratio) == pytest.approx((20.0, 30.0, 1.5))
    assert math.isfinite(retention(1.0, 1e9, 10).ratio)


@pytest.mark.parametrize(("limit", "passed"), [(1.5, True), (1.05, False)])
def test_the_limit_is_the_recipes(limit: float, passed: bool) -> None:
    found = retention(355 * 3.7, 355 * 3.9, 355)
    (check,) = check_retention({"en": found}, limit)
    assert check.name == "retention_en"
    assert check.passed is passed
    assert check.value == pytest.approx(math.exp(0.2))


def test_a_language_is_known_below_two_bits_a_byte() -> None:
    """The measured values of two small models: one was never taught Chinese."""
    smollm = {"en": retention(355 * math.log(41.9), 1500.0, 355), "zh": retention(1770 * math.log(14.9), 9e3, 1770)}
    gemma = {"en": retention(345 * math.log(41.4), 1500.0, 345), "zh": retention(686 * math.log(56.1), 9e3, 686)}
    assert {name: round(bits_per_byte(one, name), 1) for name, one in smollm.items()} == {"en": 1.1, "zh": 2.4}
    assert [check.name for check in check_retention(smollm, 1.5)] == ["retention_en"]
    assert [check.name for check in check_retention(gemma, 1.5)] == ["retention_en", "retention_zh"]


# ---------------------------------------------------------------------------------------------------- few-shot examples


def test_examples_are_spread_within_the_limit_and_the_same_each_time() -> None:
    prompts = [f"question {row}" for row in range(90)]
    sizes = [10 + row % 7 for row in range(90)]
    chosen = choose_examples(prompts, sizes, 3, 60)
    assert chosen == (15, 45, 75) == choose_examples(prompts, sizes, 3, 60)
    assert sum(sizes[row] for row in chosen) <= 60


def test_long_examples_and_repeated_questions_are_left_out() -> None:
    prompts = ["什么是AI？"] * 5 + ["你好", "long", "再见"]
    sizes = [20, 20, 20, 20, 20, 5, 500, 5]
    assert choose_examples(prompts, sizes, 3, 90) == (0, 5, 7)
    assert choose_examples(prompts, sizes, 2, 24) == (5, 7)


@pytest.mark.parametrize(
    ("count", "limit", "expected"), [(0, 100, ()), (3, 0, ()), (3, 12, (0,)), (9, 1000, (0, 1, 2))]
)
def test_as_many_as_there_is_room_for(count: int, limit: int, expected: tuple[int, ...]) -> None:
    assert choose_examples(["a", "b", "c"], [10, 11, 12], count, limit) == expected
    assert choose_examples([], [], count, limit) == ()
