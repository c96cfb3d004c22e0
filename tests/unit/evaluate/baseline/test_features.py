"""Words in English, characters where a script has no spaces."""

from __future__ import annotations

import pytest

from tunewright.evaluate.baseline._features import NgramCounter, is_unsegmented, normalise


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["A plain sentence.", "naïve café"], False),
        (["这本书很好看", "质量太差了"], True),
        (["これはペンです"], True),
        (["ภาษาไทย"], True),
        (["한국어 문장 입니다"], False),
        (["Привет, мир"], False),
        (["iPhone 手机真不错"], True),
        (["We visited 北京 last year and liked it very much"], False),
        (["12345", "!!!"], False),
        ([], False),
    ],
)
def test_scripts_are_told_apart(texts: list[str], expected: bool) -> None:
    assert is_unsegmented(texts) is expected


def grams(counter: NgramCounter, texts: list[str]) -> set[str]:
    counter.fit(texts)
    return set(counter._counter.get_feature_names_out())


def test_words_and_pairs() -> None:
    assert grams(NgramCounter(), ["Don't stop :)"]) == {"don't", "stop", ":", ")", "don't stop", "stop :", ": )"}


def test_characters_up_to_three() -> None:
    assert grams(NgramCounter(), ["很好看"]) == {"很", "好", "看", "很好", "好看", "很好看"}


def test_full_width_and_case_are_folded() -> None:
    assert normalise(" ＡＢＣ！Straße ") == "abc!strasse"
    assert normalise(" \t ") == "∅"


def test_other_texts_are_counted_over_the_learnt_vocabulary() -> None:
    counter = NgramCounter()
    counter.fit(["a b", "b c"])
    assert counter.count(["b b new"]).sum() == 2
