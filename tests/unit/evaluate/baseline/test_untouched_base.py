"""Nearest centroid by cosine, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tunewright.evaluate.baseline._embeddings import unit_rows
from tunewright.evaluate.baseline.frozen_probe import FrozenProbe
from tunewright.evaluate.baseline.untouched_base import UntouchedBase
from tunewright.evaluate.resample import sample_rows
from tunewright.types import Floats, Label

PLANE = {
    "east": (3.0, 0.1),
    "far east": (9.0, 0.0),
    "north": (0.0, 2.0),
    "up north": (0.1, 5.0),
    "new": (1.0, 0.9),
    "往北": (0.2, 8.0),
}


def encode(texts: Sequence[str]) -> Floats:
    return np.array([PLANE[text] for text in texts])


def fitted() -> UntouchedBase:
    base = UntouchedBase()
    base.fit(["east", "far east", "north", "up north"], Label(("e", "n"), np.array([0, 0, 1, 1])), encode)
    return base


def test_the_nearest_centroid_answers_whatever_the_length() -> None:
    answer = fitted().predict(["new", "往北"], encode)
    assert answer.chosen.tolist() == [0, 1]


def test_scores_are_cosines_to_the_mean_of_unit_vectors() -> None:
    base = fitted()
    units = unit_rows(encode(["east", "far east", "north", "up north"]))
    expected = [units[:2].mean(axis=0), units[2:].mean(axis=0)]
    new = np.array(PLANE["new"])
    cosines = [new @ each / np.linalg.norm(new) / np.linalg.norm(each) for each in expected]
    assert base._scores(unit_rows(encode(["new"])))[0] == pytest.approx(cosines)


def test_probabilities_are_a_softmax_of_the_cosines() -> None:
    base = fitted()
    answer = base.predict(["new"], encode)
    scores = base._scores(unit_rows(encode(["new"])))[0]
    assert answer.probabilities is not None
    odds = np.log(answer.probabilities[0, 0] / answer.probabilities[0, 1])
    assert odds == pytest.approx((scores[0] - scores[1]) / base._temperature)


def test_large_data_is_sampled_by_seed() -> None:
    assert sample_rows(10, 20, 0).tolist() == list(range(10))
    first = sample_rows(1000, 50, 1)
    assert len(set(first.tolist())) == 50
    assert np.array_equal(first, sample_rows(1000, 50, 1))
    assert not np.array_equal(first, sample_rows(1000, 50, 2))


def test_the_probe_does_not_care_for_the_scale_of_a_dimension() -> None:
    texts, gold = ["east", "far east", "north", "up north"], Label(("e", "n"), np.array([0, 0, 1, 1]))

    def stretched(texts: Sequence[str]) -> Floats:
        scaled: Floats = encode(texts) * np.array([1e6, 1e-6])
        return scaled

    answers = []
    for encoder in (encode, stretched):
        probe = FrozenProbe(FrozenProbe.Config(strength=1.0))
        probe.fit(texts, gold, encoder)
        answers.append(probe.predict(["new", "往北"], encoder).probabilities)
    assert answers[0] == pytest.approx(answers[1], abs=1e-6)
