"""The loop yields facts and obeys; an update that is not finite never reaches a weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from tunewright.train.batches import Examples
from tunewright.train.loop import Loop
from tunewright.train.ranks import Whole
from tunewright.train.train import Fit, fit_quietly, make_loop
from tunewright.types import Batch, Directive

MakeFit = Callable[..., Fit]
MakeExamples = Callable[..., Examples]


def everything(loop: Loop) -> dict[str, torch.Tensor]:
    """Copies of weights and moments."""
    found = {name: value.clone() for name, value in loop.module.state_dict().items()}
    for name, parameter in loop.module.named_parameters():
        for moment, value in loop.optimizer.state.get(parameter, {}).items():
            found[f"{name}|{moment}"] = value.clone()
    return found


def assert_same_bits(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


class Poison(nn.Module):
    """Passes logits on; where told, puts a value into the logits or into the gradients that flow back."""

    def __init__(self, module: nn.Module, at_step: int, value: float, *, backward: bool) -> None:
        super().__init__()
        self.module = module
        self.at_step, self.value, self.backward = at_step, value, backward
        self.loop: Loop | None = None

    def forward(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.module(batch)
        if self.loop is None or self.loop.step != self.at_step:
            return logits
        if self.backward:
            hooked: Any = logits
            hooked.register_hook(lambda gradient: gradient.index_fill(1, torch.tensor([1]), self.value))
            return logits
        return logits + self.value


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("backward", [False, True], ids=["in the loss", "in the gradients"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_that_is_not_finite_changes_nothing_and_names_its_rows(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples, value: float, backward: bool, optimizer: str
) -> None:
    poison = Poison(module, 2, value, backward=backward)
    loop = make_loop(make_fit(poison, optimizer={"name": optimizer}), make_examples(12))
    poison.loop = loop
    steps = loop.steps()
    next(steps), next(steps)
    before = everything(loop)
    hurt = next(steps)
    assert hurt.skipped
    assert sorted(hurt.row_ids) == sorted(1000 + row for row in loop.batches.rows(2).tolist())
    assert_same_bits(everything(loop), before)
    assert loop.num_skipped == 1
    assert loop.state() == {"step": 3, "num_skipped": 1}

    after = next(steps)
    assert not after.skipped
    assert math.isfinite(after.loss)
    assert any(not torch.equal(value, before[name]) for name, value in everything(loop).items())
    assert all(bool(torch.isfinite(value).all()) for value in everything(loop).values())


class LossThatLies:
    """A finite gradient, and a NaN as the loss."""

    def __call__(self, outputs: torch.Tensor, columns: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs.sum() + (outputs.detach() * math.nan).sum(), self.count(columns)

    judge = __call__

    def count(self, columns: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.tensor(float(len(columns["target"])))


def test_a_nan_loss_with_finite_gradients_is_skipped_as_well(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples
) -> None:
    loop = make_loop(make_fit(module), make_examples(4))
    loop.loss_function = LossThatLies()
    loop.whole = Whole(module, loop.loss_function)
    before = everything(loop)
    step = next(loop.steps())
    assert step.skipped
    assert math.isfinite(step.gradient_norm)
    assert_same_bits(everything(loop), before)


def test_the_facts_of_each_step(module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    examples = make_examples(10)
    loop = make_loop(make_fit(module), examples)
    steps = list(loop.steps())
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.epoch for step in steps] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    assert [step.num_examples for step in steps] == [4, 4, 2, 4, 4, 2]
    assert sum(step.num_tokens for step in steps[:3]) == sum(len(ids) for ids in examples.ids)
    assert sorted(sum((step.row_ids for step in steps[:3]), ())) == list(range(1000, 1010))
    assert [step.lr for step in steps] == [loop.rate(step) for step in range(6)]
    assert not any(step.skipped for step in steps)


def test_it_stops_when_told_and_goes_on_where_it_stopped(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples
) -> None:
    loop = make_loop(make_fit(module), make_examples(10))
    steps = loop.steps()
    next(steps)
    assert steps.send([Directive.COMMIT]).step == 2
    with pytest.raises(StopIteration):
        steps.send([Directive.STOP])
    assert loop.step == 2
    assert [step.step for step in loop.steps()] == [3, 4, 5, 6]


def test_it_learns(module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    losses = [step.loss for step in make_loop(make_fit(module, decided={"epochs": 30}), make_examples(40)).steps()]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_training_quietly_makes_the_same_updates(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples
) -> None:
    other = type(module)()
    other.load_state_dict(module.state_dict())
    told: list[Any] = []
    fit_quietly(make_fit(module), make_examples(10), tell=lambda *facts: told.append(facts), label="fold 1")
    for _ in make_loop(make_fit(other), make_examples(10)).steps():
        pass
    assert_same_bits(module.state_dict(), other.state_dict())
    assert told[-1] == ("fold 1", 6, 6, "")


def test_a_frozen_parameter_stays_what_it_was(module: Any, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    module.embedding.requires_grad_(False)
    before = module.embedding.weight.clone()
    fit_quietly(make_fit(module, optimizer={"weight_decay": 0.5}), make_examples(8))
    assert torch.equal(module.embedding.weight, before)
