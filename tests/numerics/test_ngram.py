"""The n-gram model against the formula written out once more, against numbers by hand, and against 1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from tunewright.evaluate.ngram import END, START, UNKNOWN, NGram, Parts, discounts

ENGLISH = ("the cat sat", "the cat ran", "a cat sat there", "the dog sat", "the end")
CHINESE = ("我不知道", "我知道了", "你不知道吗", "不是", "我不是你")
DIALOGUES: tuple[Parts, ...] = (
    (("hi", False), ("hello you", True), ("who?", False), ("me", True)),
    (("你好", False), ("你好吗", True)),
    (("hi", False), ("hi you", True)),
)


def units_of(text: str | Parts, order: int) -> list[tuple[str, bool]]:
    parts: Parts = [(text, True)] if isinstance(text, str) else text
    units = [(START, False)] * (order - 1)
    for part, wanted in parts:
        units += [(unit, wanted) for unit in [*part, END]]
    return units


class Oracle:
    """Interpolated modified Kneser-Ney with dictionaries and recursion, as the paper writes it."""

    def __init__(self, texts: Sequence[str | Parts], order: int) -> None:
        self.vocabulary = {unit for text in texts for unit, _ in units_of(text, 1)} | {END, UNKNOWN}
        self.order = order
        self.counts: dict[int, Counter[tuple[str, ...]]] = {order: Counter()}
        for text in texts:
            units = units_of(text, order)
            for at, (_, wanted) in enumerate(units):
                if wanted:
                    self.counts[order][tuple(unit for unit, _ in units[at - order + 1 : at + 1])] += 1
        for length in range(order - 1, 0, -1):
            self.counts[length] = Counter(gram[1:] for gram in self.counts[length + 1])

    def taken(self, length: int, count: int) -> float:
        n = Counter(self.counts[length].values())
        if not n[1] or not n[2] or not n[3]:
            return (0.5, 1.0, 1.5)[min(count, 3) - 1]
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if not all(0 < found[k] <= k + 1 for k in range(3)):
            return (0.5, 1.0, 1.5)[min(count, 3) - 1]
        return found[min(count, 3) - 1]

    def probability(self, unit: str, history: tuple[str, ...]) -> float:
        length = len(history) + 1
        lower = self.probability(unit, history[1:]) if history else 1 / len(self.vocabulary)
        following = {gram[-1]: count for gram, count in self.counts[length].items() if gram[:-1] == history}
        if not following:
            return lower
        total = sum(following.values())
        given = following.get(unit, 0)
        own = (given - self.taken(length, given)) / total if given else 0.0
        return own + sum(self.taken(length, count) for count in following.values()) / total * lower

    def log_probability(self, text: str | Parts) -> float:
        units = units_of(text, self.order)
        names = [unit if unit in self.vocabulary or unit == START else UNKNOWN for unit, _ in units]
        return sum(
            math.log(self.probability(names[at], tuple(names[at - self.order + 1 : at])))
            for at, (_, wanted) in enumerate(units)
            if wanted
        )


@pytest.mark.parametrize(
    "texts", [ENGLISH, CHINESE, ENGLISH * 3 + CHINESE, DIALOGUES], ids=["en", "zh", "both", "chat"]
)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_the_formula(texts: Sequence[str | Parts], order: int) -> None:
    others = [*texts, "the unknown 猫", "", "我 cat", (("before", False), ("hi 不", True))]
    model, oracle = NGram(order).fit(texts), Oracle(texts, order)
    expected = [oracle.log_probability(text) for text in others]
    np.testing.assert_allclose(model.log_probability(others), expected, rtol=1e-10)


def test_discounts_are_those_of_the_paper() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [40, 12, 5, 3, 2])
    y = 40 / (40 + 24)
    assert discounts(counts) == pytest.approx((1 - 2 * y * 12 / 40, 2 - 3 * y * 5 / 12, 3 - 4 * y * 3 / 5))
    assert discounts(np.array([1, 1, 5])) == (0.5, 1.0, 1.5)


def test_a_small_model_by_hand() -> None:
    """Fitted on "aab": bigrams <s>a, aa, ab, b</s>, once each, discounts (0.5, 1, 1.5), units a, b, END, UNKNOWN.

    Continuations: a follows 2 different units, b and END one each. p(a) = (2 - 1)/4 + (1 + 2 * 0.5)/4 * 1/4 = 0.375.
    p(a | a) = 0.5/2 + (2 * 0.5)/2 * p(a) = 0.4375. p(b | a) = 0.25 + 0.5 * p(b), p(b) = 0.5/4 + 0.5 * 0.25 = 0.25.
    """
    model = NGram(2).fit(["aab"])
    after = model.next_probabilities("aa")
    assert after["a"] == pytest.approx(0.4375)
    assert after["b"] == pytest.approx(0.375)
    assert after[END] == pytest.approx(0.5 * 0.25)
    assert after[UNKNOWN] == pytest.approx(0.5 * 0.125)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("history", ["", "the c", "我不", "never seen 猫", "zzzzzzz"])
def test_probabilities_sum_to_one(order: int, history: str) -> None:
    model = NGram(order).fit([*ENGLISH, *CHINESE])
    after = model.next_probabilities(history, before=["你好", "hi"])
    assert sum(after.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(after.values()) > 0
    assert START not in after


def test_a_text_is_the_product_of_its_units() -> None:
    model = NGram(3).fit([*ENGLISH, *CHINESE])
    for text in ("the cat", "我是你", "x"):
        steps = [
            model.next_probabilities(text[:at])[unit]
            for at, unit in enumerate(text)
            if unit in set("".join(ENGLISH + CHINESE))
        ]
        if text == "x":
            steps = [model.next_probabilities("")[UNKNOWN]]
        steps.append(model.next_probabilities(text)[END])
        assert model.log_probability([text])[0] == pytest.approx(sum(map(math.log, steps)))


def test_an_unseen_character_costs_its_share_of_all_that_it_may_be() -> None:
    plain, spread = NGram(2).fit(ENGLISH), NGram(2, unknown_size=150_000).fit(ENGLISH)
    gap = plain.log_probability(["猫猫"]) - spread.log_probability(["猫猫"])
    assert gap[0] == pytest.approx(2 * math.log(150_000))
    assert np.array_equal(plain.log_probability(["the cat"]), spread.log_probability(["the cat"]))
