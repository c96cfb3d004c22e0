"""The cut of a batch into micro-batches changes nothing but memory, the smaller batch at the end of an epoch included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tunewright.adapt.task.classify import Classify
from tunewright.types import Objective

WEIGHTED = Objective("cross_entropy", {"class_weights": [0.2, 1.0, 5.0], "label_smoothing": 0.1})
PLAIN_SGD = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}
CONSTANT = {"schedule": {"name": "constant", "warmup": 0.0}}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def updates_of(loop: Any, num_steps: int) -> dict[str, torch.Tensor]:
    """What ``num_steps`` updates added to each weight."""
    before = {name: value.clone() for name, value in loop.module.state_dict().items()}
    for step, _ in zip(range(num_steps), loop.steps(), strict=False):
        assert step < num_steps
    return {name: value - before[name] for name, value in loop.module.state_dict().items()}


def assert_close(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    """Equal to fp32 rounding of the largest update."""
    largest = max(float(value.abs().max()) for value in right.values())
    assert largest > 1e-4
    for name, value in left.items():
        assert (value - right[name]).abs().max() < 2e-6 * max(1.0, largest), name


@pytest.mark.parametrize("objective", [Objective("cross_entropy"), WEIGHTED], ids=["plain", "weighted and smoothed"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(
    objective: Objective, make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    """Ten rows as 4, 4 and 2: three updates with micro-batches of one row, of a few, and of all."""
    found = []
    for token_budget in (8, 30, 10_000):
        loop = build_loop(
            make_module("bert", **NO_DROPOUT), make_examples(10), objective=objective, optimizer=PLAIN_SGD, options=CONSTANT,
            token_budget=token_budget, lr=0.1, clip_norm=0.0,
        )  # fmt: skip
        num_cuts = [len(list(loop.batches.micro_batches(step))) for step in range(3)]
        assert (num_cuts == [1, 1, 1]) == (token_budget == 10_000)
        found.append(updates_of(loop, 3))
    assert_close(found[0], found[2])
    assert_close(found[1], found[2])


def test_an_update_is_the_gradient_of_the_weighted_mean(
    make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    """Against torch's own weighted mean over the rows of the step, each row run alone."""
    examples = make_examples(10)
    loop = build_loop(
        make_module("bert", **NO_DROPOUT), examples, objective=WEIGHTED, optimizer=PLAIN_SGD, options=CONSTANT,
        token_budget=30, lr=0.5,
        clip_norm=0.0, epochs=1,
    )  # fmt: skip
    for step in range(3):
        oracle = make_module("bert", **NO_DROPOUT)
        oracle.load_state_dict(loop.module.state_dict())
        rows = loop.batches.rows(step)
        logits = torch.cat([oracle.head(_first_state(oracle, examples.ids[row])) for row in rows])
        target = examples.targets[rows, 0].long()
        torch.autograd.backward(
            functional.cross_entropy(logits, target, weight=torch.tensor([0.2, 1.0, 5.0]), label_smoothing=0.1)
        )
        wanted = {name: -0.5 * parameter.grad for name, parameter in oracle.named_parameters()}
        assert_close(updates_of(loop, 1), wanted)


def _first_state(module: Any, ids: Any) -> torch.Tensor:
    state: torch.Tensor = module.trunk(input_ids=torch.from_numpy(np.asarray(ids))[None]).last_hidden_state[:, 0]
    return state


def test_the_reported_loss_and_norm_do_not_depend_on_the_cut(
    make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    steps = [
        next(build_loop(make_module("bert", **NO_DROPOUT), make_examples(9), token_budget=budget).steps())
        for budget in (8, 10_000)
    ]
    assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-6)
    assert steps[0].gradient_norm == pytest.approx(steps[1].gradient_norm, rel=1e-5)
    assert steps[0].num_tokens == steps[1].num_tokens
    assert sorted(steps[0].row_ids) == sorted(steps[1].row_ids)


def test_multi_label_rows_accumulate_too(make_module: Callable[..., Any], make_examples: Any, build_loop: Any) -> None:
    task = Classify().with_labels(["a", "b", "c"], multi_label=True)
    targets = np.random.default_rng(2).integers(0, 2, (7, 3))
    objective = Objective("binary_cross_entropy", {"positive_weights": [0.5, 1.0, 4.0]})
    found = [
        updates_of(
            build_loop(
                make_module("bert", task, **NO_DROPOUT), make_examples(7, targets=targets), objective=objective,
                optimizer=PLAIN_SGD, options=CONSTANT, token_budget=budget, lr=0.1,
            ),
            2,
        )
        for budget in (8, 10_000)
    ]  # fmt: skip
    assert_close(*found)


def test_clipping_scales_the_whole_gradient_to_its_norm(
    make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    """Pascanu et al. 2013, algorithm 1: the direction stays, the length is at most the threshold."""
    loops = [
        build_loop(
            make_module("bert", **NO_DROPOUT),
            make_examples(4),
            optimizer=PLAIN_SGD,
            options=CONSTANT,
            lr=1.0,
            clip_norm=clip_norm,
        )
        for clip_norm in (0.0, 0.01)
    ]
    free, clipped = (updates_of(loop, 1) for loop in loops)
    norm = float(torch.cat([value.flatten() for value in free.values()]).norm())
    assert norm > 0.01
    for name, value in free.items():
        assert (clipped[name] - value * 0.01 / norm).abs().max() < 1e-6, name


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_what_waits_in_main_memory_comes_back_as_it_was(
    architecture: str, make_module: Callable[..., Any], make_examples: Any, build_loop: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Dropout and micro-batches included; that anything waits is seen."""
    waited: list[bool] = []
    save_on_cpu = torch.autograd.graph.save_on_cpu

    def seen(pin_memory: bool) -> Any:
        waited.append(pin_memory)
        return save_on_cpu(pin_memory=pin_memory)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", seen)
    found = []
    for offload in (False, True):
        loop = build_loop(
            make_module(architecture), make_examples(8), token_budget=40, kernels="torch", options={"offload": offload}
        )
        found.append([(step.loss, step.gradient_norm) for step in loop.steps()])
    assert found[0] == found[1]
    assert len(waited) > 4
    assert not any(waited), "only a GPU needs pinned memory"
