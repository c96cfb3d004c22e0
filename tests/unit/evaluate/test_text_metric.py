"""Metrics of generated text and of likelihoods against sacrebleu, against sums by hand, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from tunewright.evaluate.metric._pieces import pieces
from tunewright.evaluate.metric.exact_match import normalise
from tunewright.evaluate.metric.repetition import repeated_share
from tunewright.evaluate.score import measure, metric_named, score
from tunewright.types import Likelihood, Text

ENGLISH = ("The cat sat on the mat.", "No.", "I do not know what you mean, sorry.", "A  tab\tand\nlines", "")
CHINESE = ("今天天气很好，我们去公园吧。", "不知道", "人工智能是工程和科学的分支。", "好　的", "我")


def text(*texts: str, stopped: bool = True) -> Text:
    return Text(texts, np.array([len(one) for one in texts]), np.full(len(texts), stopped))


def value(name: str, answer: Text, gold: Text) -> float | None:
    return score(answer, gold, [name])[name]


def shuffled(texts: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Texts with some characters dropped and others moved, so that n-grams agree in part."""
    rng = np.random.default_rng(seed)
    parts = []
    for one in texts:
        kept = [character for character in one if rng.random() > 0.2]
        half = len(kept) // 2
        parts.append("".join(kept[half:] + kept[:half] if rng.random() < 0.3 else kept))
    return tuple(parts)


@pytest.mark.parametrize("references", [ENGLISH, CHINESE, ENGLISH + CHINESE], ids=["english", "chinese", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_chrf_is_sacrebleus_corpus_score(references: tuple[str, ...], seed: int) -> None:
    answers = shuffled(references, seed)
    expected = CHRF().corpus_score(list(answers), [list(references)]).score / 100
    assert value("chrf", text(*answers), text(*references)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.text("ab 好不", max_size=12), st.text("ab 好不", max_size=12)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_chrf_is_sacrebleus_at_every_edge(pairs: list[tuple[str, str]]) -> None:
    answers, references = ([pair[side] for pair in pairs] for side in (0, 1))
    found = value("chrf", text(*answers), text(*references))
    expected = CHRF().corpus_score(answers, [references]).score / 100
    assert (found or 0.0) == pytest.approx(expected, abs=1e-12)
    if found is None:
        assert not any("".join(one.split()) for one in references)


def test_a_resampled_chrf_is_the_corpus_score_of_the_resampled_rows() -> None:
    answers, rng = shuffled(ENGLISH + CHINESE, 5), np.random.default_rng(0)
    metric = metric_named("chrf")
    statistics = metric.observe(text(*answers), text(*ENGLISH, *CHINESE))
    for _ in range(5):
        rows = rng.integers(0, 10, 10)
        references = [[(ENGLISH + CHINESE)[row] for row in rows]]
        expected = CHRF().corpus_score([answers[row] for row in rows], references).score / 100
        assert metric.value(statistics, np.bincount(rows, minlength=10).astype(float)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        ("Yes.", "yes", True),
        ("ＹＥＳ！", "yes", True),
        ("好的。", "好的", True),
        ("好的，", "好的！", True),
        ("two  words", "Two words …", True),
        ("a.b", "ab", False),
        ("不好", "好", False),
        ("", "", True),
        ("?", "!", False),
    ],
)
def test_exact_match_folds_width_case_space_and_marks_at_the_end(given: str, right: str, same: bool) -> None:
    assert value("exact_match", text(given), text(right)) == float(same)
    assert (normalise(given) == normalise(right)) is same


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ("one two three four", 0.0),
        ("one two three", 0.0),
        ("", 0.0),
        ("a b a b a b a b", 1 - 2 / 5),
        ("好的好的好的好的", 1 - 2 / 5),
        ("no no no no no no no", 1 - 1 / 4),
        ("人工智能是科学的分支", 0.0),
    ],
)
def test_repetition_is_the_share_of_runs_that_were_there_before(words: str, share: float) -> None:
    assert repeated_share(words) == pytest.approx(share)


def test_pieces_are_words_marks_and_single_characters() -> None:
    assert pieces("I don't know, 我不知道 GPT4!") == ["I", "don't", "know", ",", "我", "不", "知", "道", "GPT4", "!"]


def test_stops_and_lengths_are_counted() -> None:
    answers = Text(("ab", " abcd ", ""), np.array([2, 4, 0]), np.array([True, False, True]))
    gold = text("abc", "abc", "好的")
    assert value("stop_rate", answers, gold) == pytest.approx(2 / 3)
    assert value("length_ratio", answers, gold) == pytest.approx(6 / 8)
    assert value("length_ratio", answers, text("", "", "")) is None


def test_likelihoods_are_summed_before_they_are_divided() -> None:
    likelihood, gold = Likelihood(np.array([6.0, 2.0]), np.array([3, 1])), text("abcd", "好")
    found = score(likelihood, gold, ("nll_per_dialogue", "nll_per_token", "perplexity", "bits_per_character"))
    assert found == pytest.approx(
        {
            "nll_per_dialogue": 4.0,
            "nll_per_token": 2.0,
            "perplexity": math.exp(2.0),
            "bits_per_character": 8.0 / math.log(2) / 5,
        }
    )


def test_measures_of_text_have_intervals_and_none_where_undefined() -> None:
    gold = text(*ENGLISH)
    names = ("chrf", "stop_rate", "repetition")
    found = {one.name: one for one in measure(text(*shuffled(ENGLISH, 1)), gold, names, seed=0, num_resamples=200)}
    assert found["stop_rate"].method == "Wilson score interval"
    assert found["chrf"].interval is not None
    low, high = found["chrf"].interval
    assert low <= (found["chrf"].value or 0) <= high
    empty = measure(text("", ""), text("", ""), ("chrf",), seed=0, num_resamples=200)[0]
    assert (empty.value, empty.note) == (None, "undefined on these rows")
