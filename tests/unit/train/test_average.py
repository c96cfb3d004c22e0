"""The mean of the weights: by its formula, evaluated and kept, without a trace in the training itself, resumed bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.infer.predict import predict_logits
from tunewright.train.average import MEANS, Average
from tunewright.train.batches import Examples
from tunewright.train.train import Fit, fit_quietly, make_loop, train
from tunewright.types import Directive

MakeFit = Callable[..., Fit]
MakeExamples = Callable[..., Examples]
EMA = {"name": "ema", "decay": 0.6}


def copy_of(module: nn.Module) -> Any:
    other = type(module)()
    other.load_state_dict(module.state_dict())
    return other


def weights_after_each(fit: Fit, examples: Examples) -> list[dict[str, torch.Tensor]]:
    loop = make_loop(fit, examples)
    return [{name: value.clone() for name, value in loop.module.state_dict().items()} for _ in loop.steps()]


def same(module: nn.Module, wanted: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, wanted[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("decay", [0.6, 0.99, 1.0])
def test_it_is_the_weighted_mean_of_the_weights_after_each_update(
    decay: float, module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples
) -> None:
    """sum_i d^(t-i) w_i / sum_i d^(t-i)."""
    other = copy_of(module)
    each = weights_after_each(make_fit(module), make_examples(10))
    fit_quietly(make_fit(other, average={"name": "ema", "decay": decay}), make_examples(10))
    shares = [decay ** (len(each) - 1 - index) for index in range(len(each))]
    for name, value in other.state_dict().items():
        terms = [share * weights[name].double() for share, weights in zip(shares, each, strict=True)]
        wanted = torch.stack(terms).sum(dim=0) / sum(shares)
        assert torch.allclose(value.double(), wanted, atol=1e-6), name


def test_training_does_not_notice(module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    """The means stand in and leave again; every update is that of a run without them."""
    other = copy_of(module)
    wanted = weights_after_each(make_fit(module), make_examples(10))
    fit = make_fit(other, average=EMA)
    loop = make_loop(fit, make_examples(10))
    average = Average(fit.config.average, loop)
    for step, weights in zip(loop.steps(), wanted, strict=True):
        average.saw(step)
        with average.standing_in():
            assert same(other, weights) == (step.step == 1), "the first mean is the first weights"
        assert same(other, weights)
    with pytest.raises(KeyError), average.standing_in():
        raise KeyError
    assert same(other, wanted[-1])


def test_in_bf16_the_copy_that_computes_follows(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples
) -> None:
    fit = make_fit(module, average=EMA, decided={"dtype": "bf16"})
    loop = make_loop(fit, make_examples(10))
    average = Average(fit.config.average, loop)
    for step in loop.steps():
        average.saw(step)
    computing: Any = loop.worker.module
    assert computing is not module
    before = computing.output.weight.clone()
    with average.standing_in():
        assert torch.equal(computing.output.weight, average.means["output.weight"].bfloat16())
    assert torch.equal(computing.output.weight, before)


def test_without_one_nothing_is_held(module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    fit = make_fit(module)
    average = Average(fit.config.average, make_loop(fit, make_examples(4)))
    assert average.weights == average.means == {}


def test_the_mean_is_what_is_evaluated_and_kept(
    module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples, make_bench: Callable[..., Any]
) -> None:
    """Each commit holds both: the weights to go on from, and their mean."""
    bench, quiet = make_bench(), copy_of(module)
    seen: list[Any] = []
    bench.scores = [0.1, 0.2]
    score = bench.score

    def look(outputs: Any) -> Any:
        seen.append(outputs)
        return score(outputs)

    bench.score = look
    fit = make_fit(module, average=EMA, patience=0)
    checkpoint = train(fit, make_examples(10), bench.watch())
    fit_quietly(make_fit(quiet, average=EMA), make_examples(10))
    assert checkpoint.step == 6
    assert same(module, quiet.state_dict())
    assert np.array_equal(seen[-1], predict_logits(module, bench.validation.ids))
    assert (checkpoint.folder / MEANS).is_file()


@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_a_run_that_goes_on_has_the_same_bits(
    stop_at: int, module: nn.Module, make_fit: MakeFit, make_examples: MakeExamples, make_bench: Callable[..., Any]
) -> None:
    whole, resumed = copy_of(module), copy_of(module)
    train(make_fit(whole, average=EMA, patience=0), make_examples(10), make_bench("whole").watch())
    bench = make_bench("parts")
    bench.asked_to_stop = lambda: bool(bench.told) and bench.told[-1][1] >= stop_at
    train(make_fit(module, average=EMA, patience=0), make_examples(10), bench.watch())
    assert bench.checkpoints.latest().step == stop_at
    bench.asked_to_stop = lambda: False
    train(make_fit(resumed, average=EMA, patience=0), make_examples(10), bench.watch())
    assert same(resumed, whole.state_dict())
    assert bench.checkpoints.latest().step == 6


def test_a_frozen_weight_is_not_averaged(module: Any, make_fit: MakeFit, make_examples: MakeExamples) -> None:
    module.embedding.requires_grad_(False)
    fit = make_fit(module, average="ema")
    average = Average(fit.config.average, make_loop(fit, make_examples(4)))
    assert set(average.means) == {"output.weight", "output.bias"}
    assert average.decay == 0.99
    assert Directive.STOP not in average.saw(next(iter(average.loop.steps())))
