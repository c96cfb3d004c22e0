"""A certificate is given only for what was shown to be equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tunewright.deploy.certificate import Certificate, Certify, certify, sample
from tunewright.errors import GateError
from tunewright.types import Floats

ROWS = ["a", "bb", "好的"]


class Echo:
    """Ids are code points; logits are one-hot, bent by ``bend``."""

    def __init__(self, bend: Callable[[Floats], Floats] = lambda logits: logits, shift: int = 0) -> None:
        self.bend = bend
        self.shift = shift

    def encode(self, row: Any) -> list[int]:
        return [ord(letter) + self.shift for letter in row]

    def logits(self, ids: Sequence[int]) -> Floats:
        return self.bend(np.eye(8)[[id_ % 8 for id_ in ids]] * 10)


def certified(after: Echo, **options: Any) -> Certificate:
    config = Certify.Config(**options)
    return certify(config, ROWS, before=Echo(), after=after, hop="a -> b", num_available=30)


def test_equals_are_certified() -> None:
    found = certified(Echo(lambda logits: logits + 1e-6))
    assert found.is_passed
    assert (found.num_rows, found.num_available, found.num_positions) == (3, 30, 5)
    assert found.largest_gap == pytest.approx(1e-6)
    assert found.limit == pytest.approx(1e-3), "a share of the largest logit, which is 10"
    assert found.top1_agreement == 1.0


@pytest.mark.parametrize(
    ("after", "given"),
    [
        (Echo(lambda logits: logits + 0.01), "row 0"),
        (Echo(lambda logits: logits * np.nan), "row 0"),
        (Echo(lambda logits: logits + np.inf), "row 0"),
        (Echo(lambda logits: logits[:, :4]), "row 0"),
        (Echo(lambda logits: logits[:, ::-1] if len(logits) > 1 else logits), "row 1"),
        (Echo(shift=1), "other token ids"),
    ],
)
def test_what_differs_is_refused_and_the_hop_is_named(after: Echo, given: str) -> None:
    with pytest.raises(GateError) as caught, np.errstate(invalid="ignore"):
        certified(after)
    assert caught.value.where == "a -> b"
    assert given in str(caught.value.given)


def test_a_wider_limit_is_taken_and_recorded() -> None:
    found = certified(Echo(lambda logits: logits + 0.01), max_gap=0.01)
    assert found.is_passed
    assert (found.limit, round(found.largest_gap, 6)) == (0.1, 0.01)
    with pytest.raises(GateError):
        certified(Echo(lambda logits: logits * np.nan), max_gap=1e9)


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(3, 9, [0, 1, 2]), (5, 2, [0, 4]), (1, 1, [0]), (101, 3, [0, 50, 100])]
)
def test_rows_are_spread_evenly(count: int, most: int, expected: list[int]) -> None:
    assert sample(count, most).tolist() == expected
