"""The choice of a token: each step equals transformers' own, row by row, and draws what the probabilities say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.infer.sampling import choose, draw, keep_top_k, keep_top_p, penalise

ROWS, WORDS = 6, 97


@pytest.fixture
def logits() -> torch.Tensor:
    logits_BV = torch.randn(ROWS, WORDS, generator=torch.Generator().manual_seed(1)) * 3
    logits_BV[0, :7] = 9.0  # ties at the top
    logits_BV[1, 3] = 60.0  # one token has it all
    return logits_BV


def processed(processor: Any, logits: torch.Tensor, row: int, ids: list[int]) -> torch.Tensor:
    found: torch.Tensor = processor(torch.tensor([ids]), logits[row : row + 1].clone())
    return found[0]


@pytest.mark.parametrize("penalty", [0.8, 1.0, 1.3])
def test_the_penalty_is_transformers(logits: torch.Tensor, penalty: float) -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    processor: Any = RepetitionPenaltyLogitsProcessor
    ids = [[row, 5, 5, 11 * row % WORDS] for row in range(ROWS)]
    seen = torch.zeros(ROWS, WORDS, dtype=torch.bool).scatter(1, torch.tensor(ids), value=True)
    found = penalise(logits, seen, torch.full((ROWS,), penalty))
    for row in range(ROWS):
        assert torch.equal(found[row], processed(processor(penalty), logits, row, ids[row]))


def test_top_k_is_transformers(logits: torch.Tensor) -> None:
    from transformers import TopKLogitsWarper

    warper: Any = TopKLogitsWarper
    top_k = [3, 1, 0, WORDS, 500, 20]
    found = keep_top_k(logits, torch.tensor(top_k))
    for row, k in enumerate(top_k):
        assert torch.equal(found[row], processed(warper(k), logits, row, [0]) if k else logits[row])
    assert keep_top_k(logits, torch.zeros(ROWS, dtype=torch.int64)) is logits


def test_top_p_is_transformers(logits: torch.Tensor) -> None:
    from transformers import TopPLogitsWarper

    warper: Any = TopPLogitsWarper
    top_p = [0.5, 0.9, 1.0, 0.01, 0.999, 0.7]
    found = keep_top_p(logits, torch.tensor(top_p))
    for row, p in enumerate(top_p):
        expected = processed(warper(p), logits, row, [0]) if p < 1 else logits[row]
        is_tied = row == 0  # which of equals are left is open
        assert (
            torch.equal(found[row].sort().values, expected.sort().values)
            if is_tied
            else torch.equal(found[row], expected)
        )
    assert keep_top_p(logits, torch.ones(ROWS)) is logits


def test_rows_with_settings_of_their_own_do_not_touch_each_other(logits: torch.Tensor) -> None:
    settings = (
        torch.tensor([0.0, 0.7, 1.0, 1.5, 0.0, 0.2]),
        torch.tensor([0, 5, 0, 50, 1, 0]),
        torch.tensor([1.0, 0.9, 0.5, 1.0, 0.1, 0.95]),
        torch.rand(ROWS, dtype=torch.float64),
    )
    together = choose(logits, *settings)
    for row in range(ROWS):
        assert together[row] == choose(logits[row : row + 1], *(one[row : row + 1] for one in settings))[0]
    assert together[0] == logits[0].argmax()
    assert together[4] == logits[4].argmax()


def test_what_is_drawn_has_the_probabilities() -> None:
    """Chi-square over 20,000 even draws: with even points the counts are exact to one."""
    logits = torch.tensor([2.0, -torch.inf, 0.5, 1.0, -3.0, -torch.inf])
    points = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    counts = draw(logits.expand(20_000, -1), points).bincount(minlength=6)
    assert (counts - 20_000 * logits.double().softmax(0)).abs().max() <= 1
    assert counts[1] == counts[5] == 0


def test_the_ends_of_chance_stay_within_what_is_possible() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    assert draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 2]
