"""Stopped after any step and restored into a new module and optimiser, a run ends with the bits of one that never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunewright import extensions
from tunewright.errors import MachineError
from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.state import read_moments, read_weights, write_state
from tunewright.types import Objective, Step, Trainable

ADAMW: dict[str, object] = {"name": "adamw", "weight_decay": 0.1}
SGD: dict[str, object] = {"name": "sgd"}
CROSS_ENTROPY = Objective("cross_entropy")
NUM_STEPS = 6


def lora(**options: Any) -> Any:
    method: Any = extensions.load("adapt.method", "lora")
    return method(method.Config(**options))


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


@pytest.mark.parametrize(
    ("architecture", "name", "options"),
    [
        ("bert", "lora", {"dropout": 0.1, "dora": True}),
        ("llama", "lora", {"dropout": 0.1}),
        ("gpt2", "qlora", {"dropout": 0.1}),
        ("bert", "head", {}),
        ("llama", "head", {"cache_mib": 0}),
    ],
)
def test_so_does_every_method_whose_commits_hold_what_it_trains_alone(
    architecture: str, name: str, options: dict[str, object], make_module: Callable[..., Any], make_examples: Any,
    build_loop: Any, tmp_path: Path,
) -> None:  # fmt: skip
    """Each run stops after three of six updates and goes on in a new module over the same base."""
    chosen: Any = extensions.load("adapt.method", name)
    examples = make_examples(11)

    def new_loop() -> Any:
        method = chosen(chosen.Config(**options))
        trainable = method.wrap(make_module(architecture), CROSS_ENTROPY, 5)
        loop = build_loop(trainable.module, examples, token_budget=40, recompute=architecture == "llama")
        if trainable.look_ahead is not None:
            trainable.look_ahead(examples.ids, lambda *_: None)
        return loop

    straight, store = new_loop(), CheckpointStore(tmp_path, keep_last=NUM_STEPS)
    steps = []
    for step in straight.steps():
        steps.append(step)
        position = {"loop": straight.state()}
        store.commit(step.step, lambda draft: write_state(draft, straight.module, straight.optimizer), position)
    trained = {key for key, parameter in straight.module.named_parameters() if parameter.requires_grad}
    commit = next(each for each in store.commits() if each.step == 3)
    assert set(load_file(commit.folder / "weights.safetensors")) == trained

    resumed = new_loop()
    read_weights(commit.folder, resumed.module)
    read_moments(commit.folder, resumed.module, resumed.optimizer)
    saved: Any = commit.position
    resumed.restore(saved["loop"])
    assert finish(resumed) == steps[3:]
    wanted = everything(straight)
    assert all(torch.equal(value, wanted[key]) for key, value in everything(resumed).items())


@pytest.mark.parametrize("name", extensions.names("train.optimizer"))
def test_so_does_every_optimiser(
    name: str, make_module: Callable[..., Any], make_examples: Any, build_loop: Any, tmp_path: Path
) -> None:
    """Matrices of 64 x 64 and more, which are not too small for moments in 8 bits; layers at rates of their own."""
    examples = make_examples(11)

    def new_loop() -> Any:
        module = make_module("bert", hidden_size=64, intermediate_size=128)
        if name == "muon":
            module = lora(rank=4).wrap(module, Objective("cross_entropy"), 5).module
        return build_loop(module, examples, optimizer={"name": name}, options={"layer_decay": 0.9}, token_budget=40)

    straight, store = new_loop(), CheckpointStore(tmp_path, keep_last=NUM_STEPS)
    steps = []
    for step in straight.steps():
        steps.append(step)
        position = {"loop": straight.state()}
        store.commit(step.step, lambda draft: write_state(draft, straight.module, straight.optimizer), position)
    commit = next(each for each in store.commits() if each.step == 3)
    resumed = new_loop()
    read_weights(commit.folder, resumed.module)
    read_moments(commit.folder, resumed.module, resumed.optimizer)
    saved: Any = commit.position
    resumed.restore(saved["loop"])
    assert finish(resumed) == steps[3:]
    wanted, found = everything(straight), everything(resumed)
    assert found.keys() == wanted.keys()
    assert {value.dtype for value in wanted.values()} >= ({torch.int8, torch.uint8} if name == "adamw_8bit" else set())
    for key, value in found.items():
        assert torch.equal(value, wanted[key]), key
        assert value.dtype == wanted[key].dtype, key


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("token_budget", [10_000, 30], ids=["whole", "accumulated"])
@pytest.mark.parametrize("patience", [0, 1], ids=["to the end", "stops early"])
def test_a_run_that_ends_after_any_step_goes_on_to_the_same_bits(
    method: str, dtype: str, token_budget: int, patience: int, make_module: Callable[..., Any], make_examples: Any,
    make_training: Any,
) -> None:  # fmt: skip
    """Dropout 0.1 throughout; the train stage itself, interrupted after each step in turn, with all that it remembers.

    One folder is stopped after its first step and again after each of the next ones, so that every step is resumed from.
    """
    examples = make_examples(11)
    chosen: Any = extensions.load("adapt.method", method)

    def trainable() -> Trainable:
        options = {"dropout": 0.1} if method == "lora" else {}
        wrapped: Trainable = chosen(chosen.Config(**options)).wrap(make_module("bert"), CROSS_ENTROPY, 5)
        return wrapped

    decided = {"dtype": dtype, "token_budget": token_budget}
    straight = make_training("straight", trainable(), decided, patience=patience, evaluate_every=2)
    wanted = straight.train(examples)
    num_steps = 4 if patience else NUM_STEPS
    assert [event["step"] for event in straight.steps()] == list(range(1, num_steps + 1))
    stopped = make_training("stopped", trainable(), decided, patience=patience, evaluate_every=2)
    for number in range(1, num_steps + 1):
        stopped.begin_anew(trainable())
        found = stopped.train(examples, stop_after=1)
        assert stopped.checkpoints.latest().step == number
    assert (found.step, found.metric, found.stopped_because) == (wanted.step, wanted.metric, wanted.stopped_because)
    assert stopped.steps() == straight.steps()
    assert (patience == 1) == wanted.stopped_because.startswith("no gain")
    for name in ("weights.safetensors", "optimizer.safetensors"):
        last, other = (each.checkpoints.latest().folder / name for each in (stopped, straight))
        assert last.read_bytes() == other.read_bytes()


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
    """A checkpoint of another model, or of another method, is refused, not loaded in part."""
    loop = build_loop(make_module("bert"), make_examples(4))
    store = CheckpointStore(tmp_path)
    commit = store.commit(0, lambda draft: write_state(draft, loop.module, loop.optimizer))
    adapted = lora().wrap(make_module("bert"), CROSS_ENTROPY, 0).module
    wider = make_module("bert", intermediate_size=64)
    for other in (make_module("gpt2"), adapted, wider):
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(MachineError, match="another model"):
            read_weights(commit.folder, other)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
