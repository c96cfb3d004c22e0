"""Numbers of rows are rounded up to few, and nobody sees the tokens that are added."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from families import flattened, stock, stream_of
from tunewright.infer.flat import run_flat
from tunewright.infer.rounding import round_stream, round_up, rounds


def test_little_is_added_and_few_numbers_are_left() -> None:
    for number in range(1, 40_000):
        found = round_up(number)
        assert number <= found <= number + max(1, number // 16)
        assert round_up(found) == found, "what is rounded stays"
    kept = {round_up(number) for number in range(512, 16_384)}
    assert len(kept) < 5 * 32 + 2
    wasted = sum(round_up(number) / number - 1 for number in range(256, 16_384)) / (16_384 - 256)
    assert wasted < 1 / 50


@pytest.mark.parametrize("parents", [(), (-1, 0, 0)])
@pytest.mark.parametrize("wanted", [None, torch.tensor([3, 5, 301])])
def test_what_is_added_is_a_segment_of_its_own(parents: tuple[int, ...], wanted: torch.Tensor | None) -> None:
    stream = replace(stream_of((100, 202, 3)), parents=parents)
    found, taken = round_stream(stream, wanted)
    assert len(found.ids) == round_up(305) == found.bounds[-1] == 320
    assert found.bounds[:-1].tolist() == stream.bounds.tolist()
    assert torch.equal(found.ids[:305], stream.ids)
    assert torch.equal(found.positions[:305], stream.positions)
    assert found.parents == ((*parents, -1) if parents else ())
    assert (taken is None) == (wanted is None)
    if wanted is not None and taken is not None:
        assert torch.equal(taken[:3], wanted)


def test_rows_that_are_wanted_find_tokens_to_be_rounded_up_with() -> None:
    stream, wanted = stream_of((320,)), torch.arange(290)
    found, taken = round_stream(stream, wanted)
    assert taken is not None
    assert len(taken) == round_up(290) == 304
    assert len(found.ids) == round_up(320 + 14)
    assert len(set(taken.tolist())) == len(taken), "distinct"
    assert int(taken.max()) < len(found.ids)


def test_a_number_that_is_kept_changes_nothing() -> None:
    stream = stream_of((512,))
    assert round_stream(stream, None)[0] is stream


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_states_and_gradients_are_those_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only in bf16 on a CPU: there the products of a row do not hang on how many others there are."""
    model: Any = flattened(stock(name))
    assert not rounds(model)
    model = model.bfloat16().eval()
    assert rounds(model)
    stream, found = stream_of((40, 7, 20)), []
    for wanted in (None, torch.tensor([0, 39, 46, 47])):
        for is_rounded in (True, False):
            monkeypatch.setattr("tunewright.infer.flat.rounds", lambda _, is_rounded=is_rounded: is_rounded)
            trunk = copy.deepcopy(model)
            states = run_flat(trunk, stream, wanted)
            assert len(states) == len(stream.ids if wanted is None else wanted)
            torch.autograd.backward(states, torch.ones_like(states))
            found.append([states.detach(), *(each.grad for each in trunk.parameters() if each.grad is not None)])
        ours, right = found[-2:]
        assert len(ours) == len(right)
        least = 0.02 * max(float(each.norm()) for each in right)
        for mine, other in zip(ours, right, strict=True):
            assert float((mine - other).norm()) < 0.02 * max(least, float(other.norm()))
