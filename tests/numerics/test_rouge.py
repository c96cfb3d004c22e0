"""ROUGE as rouge-score counts it."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from tunewright.evaluate.metric._rouge import words
from tunewright.evaluate.score import score
from tunewright.types import Text

NAMES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
VOCABULARY = "the a cat dog sat on mat, ran. Fast! 12 it's over lazy-brown".split()


def texts(seed: int, count: int = 60) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(VOCABULARY, random.integers(0, 25))) for _ in range(count)]


def as_text(given: list[str]) -> Text:
    return Text(tuple(given), np.zeros(len(given), np.int64), np.ones(len(given), np.bool_))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_that_of_rouge_score(name: str) -> None:
    answers, references = texts(0), texts(1)
    scorer = RougeScorer([NAMES[name]])
    expected = [
        scorer.score(right, given)[NAMES[name]].fmeasure for given, right in zip(answers, references, strict=True)
    ]
    found = score(as_text(answers), as_text(references), [name])[name]
    assert found == pytest.approx(float(np.mean(expected)), abs=1e-12)
    assert 0.05 < float(np.mean(expected)) < 0.9


def test_chinese_is_compared_by_character() -> None:
    assert words("BERT 很好用，2024年!") == ["bert", "很", "好", "用", "2024", "年"]
    found = score(as_text(["北京很大"]), as_text(["北京大"]), list(NAMES))
    assert found == {"rouge_1": pytest.approx(6 / 7), "rouge_2": pytest.approx(2 / 5), "rouge_l": pytest.approx(6 / 7)}
