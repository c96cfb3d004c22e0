"""Stopped after any step and restored into a new module and optimiser, a run ends with the bits of one that never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.state import read_moments, read_weights, write_state
from tunewright.types import Step

ADAMW: dict[str, object] = {"name": "adamw", "weight_decay": 0.1}
SGD: dict[str, object] = {"name": "sgd"}
NUM_STEPS = 6


def finish(loop: Any) -> list[Step]:
    return list(loop.steps())


def everything(loop: Any) -> dict[str, torch.Tensor]:
    """Weights and moments by name."""
    found = dict(loop.module.state_dict())
    for name, parameter in loop.module.named_parameters():
        for moment, value in loop.optimizer.state.get(parameter, {}).items():
            found[f"{name}|{moment}"] = value
    return found


@pytest.mark.parametrize(
    ("architecture", "optimizer", "dtype"),
    [
        ("bert", ADAMW, "fp32"),
        ("bert", ADAMW, "bf16"),
        ("bert", SGD, "fp32"),
        ("bert", SGD, "bf16"),
        ("bert", {**SGD, "momentum": 0.0}, "fp32"),
        ("gpt2", ADAMW, "bf16"),
    ],
)
def test_resumed_after_any_step_it_ends_with_the_same_bits(
    architecture: str, optimizer: dict[str, object], dtype: str, make_module: Callable[..., Any], make_examples: Any,
    build_loop: Any, tmp_path: Path,
) -> None:  # fmt: skip
    """Dropout 0.1, clipping, micro-batches, and an epoch that ends with a smaller batch."""

    def new_loop() -> Any:
        module, examples = make_module(architecture), make_examples(11)
        return build_loop(module, examples, optimizer=optimizer, dtype=dtype, token_budget=40)

    straight = new_loop()
    store = CheckpointStore(tmp_path, keep_last=NUM_STEPS)
    steps: list[Step] = []
    for step in straight.steps():
        steps.append(step)
        position = {"loop": straight.state()}
        store.commit(step.step, lambda draft: write_state(draft, straight.module, straight.optimizer), position)
    wanted = everything(straight)
    assert len(steps) == NUM_STEPS

    for commit in store.commits():
        resumed = new_loop()
        read_weights(commit.folder, resumed.module)
        read_moments(commit.folder, resumed.module, resumed.optimizer)
        saved: Any = commit.position
        resumed.restore(saved["loop"])
        assert finish(resumed) == steps[commit.step :]
        found = everything(resumed)
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            assert torch.equal(value, wanted[name]), (commit.step, name)
            assert value.dtype == wanted[name].dtype, name


def test_dropout_is_drawn_from_seed_and_step_alone(
    make_module: Callable[..., Any], make_examples: Any, build_loop: Any
) -> None:
    """Whatever else draws random numbers between the steps."""
    plain, disturbed = (build_loop(make_module("bert"), make_examples(8)) for _ in range(2))
    losses = [step.loss for step in finish(plain)]
    found = []
    for step in disturbed.steps():
        torch.rand(7)
        found.append(step.loss)
    assert found == losses
    other = build_loop(make_module("bert"), make_examples(8), seed=6)
    assert [step.loss for step in finish(other)] != losses


def test_a_run_is_bound_to_its_weights_by_name(
    make_module: Callable[..., Any], tmp_path: Path, build_loop: Any, make_examples: Any
) -> None:
    """A checkpoint of another model is refused, not loaded in part."""
    loop = build_loop(make_module("bert"), make_examples(4))
    store = CheckpointStore(tmp_path)
    commit = store.commit(0, lambda draft: write_state(draft, loop.module, loop.optimizer))
    with pytest.raises(RuntimeError, match="Missing key"):
        read_weights(commit.folder, make_module("gpt2"))
