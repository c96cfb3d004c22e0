"""All signals together: what raises the alarm, what is refused, and what is drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tunewright.errors import InputError
from tunewright.evaluate.resample import holm
from tunewright.maintain.signal.script import script_of
from tunewright.maintain.watch import Watch, draw, watch
from tunewright.types import Drift, Text, Window


def texts(num_rows: int, seed: int, words: str = "a good bad film movie great 好看 电影") -> Window:
    rng = random.Random(seed)
    return Window(tuple(" ".join(rng.choices(words.split(), k=rng.randint(4, 9))) for _ in range(num_rows)))


def look(window: Window, reference: Window, **options: object) -> Drift:
    return watch(Watch.Config.model_validate(options), window, reference, correct=holm)


def test_the_same_kind_is_quiet_and_another_kind_is_not() -> None:
    quiet = look(texts(100, 1), texts(300, 0))
    assert not quiet.is_alarm
    assert quiet.sentence == (
        "No drift: 100 requests, taken together, look like the training data; "
        "of files like the training data, at most 1 % would raise an alarm."
    )
    loud = look(texts(100, 1, "价格 便宜 купить"), texts(300, 0))
    assert loud.is_alarm
    assert "vocabulary" in {each.signal for each in loud.readings if each.is_alarm}
    assert loud.sentence.startswith("Drift: 100 requests, taken together, differ in ")


def test_p_values_are_corrected_for_their_number() -> None:
    drift = look(texts(100, 1), texts(300, 0))
    assert tuple(each.p_holm for each in drift.readings) == holm([each.p for each in drift.readings])
    assert {each.signal for each in drift.readings} == {"length", "script", "vocabulary"}, "there are no answers"


def test_generated_answers_are_not_asked_for_labels() -> None:
    spoken = Text(tuple("abc" for _ in range(30)), np.full(30, 3), np.ones(30, np.bool_))
    window = Window(texts(30, 1).texts, spoken)
    assert {each.signal for each in look(window, window).readings} == {"length", "script", "vocabulary"}


def test_signals_may_be_named() -> None:
    assert [each.signal for each in look(texts(30, 1), texts(60, 0), signals=["length"]).readings] == ["length"]
    with pytest.raises(InputError, match="no signal of this name") as wrong:
        look(texts(30, 1), texts(60, 0), signals=["lenght"])
    assert wrong.value.hint == "did you mean length?"


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match="too few rows"):
        look(texts(19, 1), texts(60, 0))
    with pytest.raises(InputError, match="too few rows"):
        look(texts(60, 1), texts(19, 0))


def test_rows_are_drawn_without_repeats_and_the_same_each_time() -> None:
    assert draw(5, 10, 0) == [0, 1, 2, 3, 4]
    drawn = draw(1000, 50, 3)
    assert drawn == sorted(set(drawn)) == draw(1000, 50, 3)
    assert len(drawn) == 50
    assert draw(1000, 50, 4) != drawn


@pytest.mark.parametrize(
    ("character", "script"),
    [("a", "latin"), ("é", "latin"), ("好", "cjk"), ("ж", "cyrillic"), ("ひ", "hiragana"), ("7", "digits"), ("７", "digits"),
     ("。", "signs"), ("👍", "signs"), (" ", ""), ("\u3000", ""), ("\u0378", "")],
)  # fmt: skip
def test_scripts(character: str, script: str) -> None:
    assert script_of(character) == script
