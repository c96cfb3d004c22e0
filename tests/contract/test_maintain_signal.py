"""Every file in ``maintain/signal`` is a Signal: quiet where nothing changed, loud where something did, None where it is deaf."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tunewright import extensions
from tunewright.types import Label, Labels, Likelihood, Reading, Window

NAMES = extensions.names("maintain.signal")
SCHEMA = ("否", "是", "maybe")
LEVEL = 0.01


def build(name: str) -> Any:
    return extensions.load("maintain.signal", name)()


def window(num_rows: int, seed: int, *, other: bool = False, kind: str = "label") -> Window:
    """Texts and answers of one kind, in English and Chinese; ``other`` ones differ in everything that is looked at."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    words = ["价格", "便宜", "купить", "$$$"] if other else ["a", "gripping", "film", "电影", "好看"]
    texts = tuple(
        " ".join(draw.choices(words, k=draw.randint(20, 40) if other else draw.randint(3, 12))) for _ in range(num_rows)
    )
    sure = rng.dirichlet([0.5, 0.5, 9.0] if other else [2.0, 2.0, 1.0], num_rows)
    if kind == "labels":
        chosen = sure > 0.4
        return Window(texts, Labels(SCHEMA, chosen, sure))
    if kind == "likelihood":
        return Window(texts, Likelihood(rng.gamma(20.0 if other else 2.0, 1.0, num_rows), np.full(num_rows, 10)))
    return Window(texts, Label(SCHEMA, sure.argmax(axis=1), sure))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["label", "labels", "likelihood"])
def test_it_is_quiet_where_nothing_changed_and_loud_where_all_did(name: str, kind: str) -> None:
    reference = window(300, 0, kind=kind)
    quiet = build(name).score(window(150, 1, kind=kind), reference, LEVEL, 0)
    loud = build(name).score(window(150, 1, kind=kind, other=True), reference, LEVEL, 0)
    if quiet is None:
        assert loud is None
        assert name == "label_share"
        assert kind == "likelihood"
        return
    assert isinstance(quiet, Reading)
    assert quiet.signal == name
    assert quiet.p > LEVEL >= loud.p > 0
    assert loud.value > quiet.value >= 0
    assert quiet.sentence


@pytest.mark.parametrize("name", NAMES)
def test_it_says_the_same_twice_and_does_not_care_for_order(name: str) -> None:
    first, reference = window(80, 1), window(160, 0)
    found = build(name).score(first, reference, LEVEL, 3)
    assert build(name).score(first, reference, LEVEL, 3) == found
    order = np.random.default_rng(0).permutation(80)
    assert isinstance(first.answer, Label)
    shuffled = Window(tuple(first.texts[row] for row in order), first.answer.take(order))
    assert build(name).score(shuffled, reference, LEVEL, 3).value == pytest.approx(found.value)


@pytest.mark.parametrize("name", NAMES)
def test_it_works_without_answers_or_says_none(name: str) -> None:
    found = build(name).score(Window(window(40, 1).texts), Window(window(80, 0).texts), LEVEL, 0)
    assert (found is None) == (name in ("label_share", "confidence"))


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_any_kind_are_read(name: str) -> None:
    odd = Window((".", "  ", "👍", "ﬁ", "\u0378", "a" * 10_000, *["好"] * 20), window(26, 1).answer)
    found = build(name).score(odd, window(60, 0), LEVEL, 0)
    assert 0 < found.p <= 1
