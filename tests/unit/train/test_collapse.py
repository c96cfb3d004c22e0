"""A collapse is told from what healthy runs show: rare labels, overfitting, growing weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.errors import GateError
from tunewright.train.collapse import Signs, StopWhenCollapsed, signs_of
from tunewright.train.consumers import Evaluation
from tunewright.train.train import train


def shown(
    value: float, loss: float, *, one_answer: bool | None = False, entropy: float | None = 0.5, norm: float = 1.0
) -> Evaluation:
    signs = Signs(one_answer=one_answer, entropy=entropy, weight_norm=norm)
    return Evaluation(step=10, epoch=1.0, value=value, metrics={"loss": loss}, signs=signs)


def cause(*evaluations: Evaluation, higher_is_better: bool = True) -> str:
    """Why the run is stopped, or nothing; what is remembered goes through JSON each time."""
    state: Any = None
    for evaluation in evaluations:
        consumer = StopWhenCollapsed(higher_is_better=higher_is_better, lr=0.1)
        if state is not None:
            consumer.restore(json.loads(json.dumps(state)))
        try:
            assert consumer.evaluated(evaluation) == ()
        except GateError as error:
            assert error.hint == "train.lr=0.01"
            return error.problem
        state = consumer.state()
    return ""


good, better = shown(0.6, 0.9), shown(0.9, 0.4)
constant = shown(0.5, 0.8, one_answer=True)
nan = math.nan


@pytest.mark.parametrize(
    ("evaluations", "because"),
    [
        ([good, better, constant, constant], "one answer"),
        ([good, better, constant, good, constant], ""),  # two in a row
        ([constant, constant, constant], ""),  # rare labels, not learnt yet
        ([constant, shown(0.5, 0.9, one_answer=True), constant, constant], ""),
        ([good, better, *[shown(0.9, 0.8, one_answer=True)] * 3], ""),  # the metric holds
        ([good, better, *[shown(0.8, 0.45, one_answer=True)] * 3], ""),  # the loss nearly holds
        ([good, better, *[shown(0.7, 1.5, entropy=0.001)] * 3], ""),  # overfitting: sure, still better than at first
        ([good, better, *[shown(0.5, 1.5, entropy=0.001)] * 2], "sure of everything"),
        ([good, better, *[shown(0.7, 1.5, norm=50.0)] * 3], ""),  # a head that has grown, and still knows
        ([good, better, *[shown(0.5, 1.5, norm=50.0)] * 2], "norm has grown from 1 to 50"),
        ([good, better, *[shown(nan, nan, one_answer=None, entropy=nan)] * 2], "sure of everything"),
        ([good, better, *[shown(nan, nan, one_answer=None, entropy=None, norm=nan)] * 2], "norm has grown"),
        ([shown(nan, 1.0), good, better, constant, constant], "one answer"),
        ([Evaluation(step=1, epoch=1.0, value=0.1, metrics={"loss": 1.0})] * 3, ""),
    ],
)
def test_what_is_a_collapse_and_what_is_none(evaluations: list[Evaluation], because: str) -> None:
    found = cause(*evaluations)
    assert (because in found) if because else (found == "")


def test_a_metric_that_falls_is_read_the_other_way_round() -> None:
    assert "one answer" in cause(
        shown(0.4, 0.9), shown(0.1, 0.4), *[shown(0.5, 0.8, one_answer=True)] * 2, higher_is_better=False
    )
    assert cause(shown(0.1, 0.4), *[shown(0.05, 0.8, one_answer=True)] * 3, higher_is_better=False) == ""


def test_the_signs_in_logits() -> None:
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    mixed, targets = np.array([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0], [1.0]])
    signs = signs_of(mixed, targets, module)
    share = 1 / (1 + math.exp(-2.0))
    bits = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    assert signs.one_answer is False
    assert signs.weight_norm == pytest.approx(5.0)
    assert signs.entropy == pytest.approx(bits)
    assert signs_of(np.array([[1e4, 0.0], [1e4, 1.0]]), targets, module).entropy == 0.0
    assert signs_of(np.array([[1.0, 0.0], [9.0, 0.0]]), targets, module).one_answer is True
    many = torch.ones(2, 2)
    for outputs, others in ((mixed, targets * 0), (mixed[:, :1], targets), (mixed, torch.ones(4)), (mixed, many)):
        assert signs_of(outputs, others, module).one_answer is None  # one label alone, one output, tokens, many labels


def test_a_run_that_collapses_stops_with_its_cause_and_again_when_asked_to_go_on(
    module: Any, make_bench: Any, make_fit: Any, make_examples: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 40 on the bias of one label is driven up, as a diverging run does."""
    bench = make_bench(validation=make_examples(40))
    real = torch.optim.AdamW.step

    def step(self: Any, *given: Any) -> Any:
        done = real(self, *given)
        if bench.told and bench.told[-1][1] >= 40:
            (bias,) = (each for group in self.param_groups for each in group["params"] if each.shape == (3,))
            with torch.no_grad():
                bias.copy_(torch.tensor([30.0, 0.0, 0.0]))
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit = make_fit(module, decided={"epochs": 12}, patience=0)
    for _ in range(2):
        with pytest.raises(GateError, match="collapsed: it gives one answer") as stopped:
            train(fit, make_examples(40), bench.watch())
        assert stopped.value.where == "step 60"
        assert stopped.value.allowed.endswith("train.heal=false")
    assert bench.checkpoints.best().step <= 40
