"""What is drawn of a text model: every row is counted once, zero is an edge, and no text is in it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tunewright.evaluate.figure_text import draw_text
from tunewright.types import Likelihood, Text


def likelihood(nats: Any) -> Likelihood:
    return Likelihood(np.asarray(nats, dtype=np.float64), np.ones(len(nats), dtype=np.int64))


def text(*texts: str) -> Text:
    return Text(texts, np.ones(len(texts), dtype=np.int64), np.ones(len(texts), dtype=bool))


@pytest.mark.parametrize(
    "nats", [[5.0], [1.0, 1.0], [-3.0, 4.0, 0.0], list(np.random.default_rng(0).normal(-3, 9, 500))]
)
def test_every_difference_is_in_one_bin_and_zero_is_an_edge(nats: list[float]) -> None:
    drawn: Any = draw_text({"tuned": likelihood(nats), "base": likelihood(np.zeros(len(nats)))}, "base", {}, {})
    found = drawn["nll_differences"]
    assert sum(found["counts"]) == len(nats) == found["won"] + found["lost"] + found["tied"]
    assert len(found["edges"]) == len(found["counts"]) + 1 <= 30
    assert min(map(abs, found["edges"])) < 1e-9
    assert np.all(np.diff(found["edges"]) > 0)


def test_lengths_are_in_characters_and_hold_every_system() -> None:
    answers = {"reference": text("今天天气", "ab"), "tuned": text("", "  "), "untouched_base": text("x" * 100, "y")}
    drawn: Any = draw_text({}, "base", answers, {})
    found = drawn["lengths"]
    assert {name: sum(counts) for name, counts in found["systems"].items()} == dict.fromkeys(answers, 2)
    assert found["systems"]["tuned"][0] == 2
    assert "今" not in json.dumps(drawn, ensure_ascii=False)
    assert draw_text({}, "base", {}, {}) == {}
    empty: Any = draw_text({}, "base", {"tuned": text("", "")}, {})
    assert sum(empty["lengths"]["systems"]["tuned"]) == 2
