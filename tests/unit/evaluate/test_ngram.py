"""The n-gram model as it is used: words and characters, sampling, what is history alone, and its edges."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.evaluate.ngram import END, NGram

SENTENCES = ["the cat sat on the mat", "the dog sat on the cat", "a cat ran"]


def test_more_context_predicts_what_was_seen_better() -> None:
    nats = [-NGram(order).fit(SENTENCES * 4).log_probability(SENTENCES).sum() for order in (1, 2, 3, 5)]
    assert nats == sorted(nats, reverse=True)


def test_words_are_units_and_so_are_chinese_characters() -> None:
    model = NGram(3, "word").fit([*SENTENCES, "我不知道。", "don't, please!"])
    after = model.next_probabilities("the")
    assert after["cat"] > after["mat"] > after["不"]
    assert {"don't", ",", "!", "我", "。"} <= set(after)
    assert model.count(["the cat", "我不", ""]).tolist() == [3, 3, 1]


def test_history_is_read_and_not_predicted() -> None:
    asked = [[("a or b? a", False), ("yes", True)], [("a or b? b", False), ("no", True)]]
    model = NGram(6).fit(asked * 3)
    assert model.count(asked).tolist() == [4, 3]
    right = model.log_probability(asked)
    swapped = model.log_probability([[asked[0][0], ("no", True)], [asked[1][0], ("yes", True)]])
    assert (right > swapped).all()
    alone = NGram(6).fit(["yes", "no"])
    assert set(model.next_probabilities()) > set(alone.next_probabilities())


@pytest.mark.parametrize(
    ("units", "texts"), [("char", SENTENCES), ("word", SENTENCES), ("char", ["我不知道", "你知道吗"])]
)
def test_samples_are_texts_of_the_same_kind(units: str, texts: list[str]) -> None:
    model = NGram(4, units).fit(texts)  # type: ignore[arg-type]
    drawn = [model.sample(seed=seed, max_units=30) for seed in range(20)]
    assert drawn == [model.sample(seed=seed, max_units=30) for seed in range(20)]
    assert len(set(drawn)) > 1
    assert set("".join(drawn)) <= set("".join(texts))
    assert any(text in drawn for text in texts) or any(text.startswith(texts[0][:3]) for text in drawn)
    assert len(model.sample(seed=1, max_units=2).split()) <= 2


def test_sampled_words_are_spaced_as_their_script_is() -> None:
    model = NGram(5, "word").fit(["hello, world!"] * 5)
    assert "hello, world!" in {model.sample(seed=seed) for seed in range(10)}
    model = NGram(5, "word").fit(["我用 Python 写。"] * 5)
    assert "我用Python写。" in {model.sample(seed=seed).replace(" ", "") for seed in range(10)}


def test_edges() -> None:
    nothing = NGram(3).fit([])
    assert nothing.next_probabilities("x") == pytest.approx({END: 0.5, "<unknown>": 0.5})
    assert nothing.log_probability(["", "a"]) == pytest.approx([np.log(0.5), 2 * np.log(0.5)])
    assert nothing.log_probability([]).shape == (0,)
    only_asked = NGram(3).fit([[("a question", False)]])
    assert only_asked.log_probability([[("a question", False)]])[0] == 0.0
    assert np.isfinite(only_asked.log_probability(["a"])).all()
    assert NGram(4).fit([""]).sample() == ""
