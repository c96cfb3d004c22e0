"""Weights in two halves lose nothing, and are moved as whole ones are; a run of them goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.errors import InputError
from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.optimizer.base import EachAdamw
from tunewright.train.split import REST, divide, put_together
from tunewright.train.state import read_moments, read_weights, write_state
from tunewright.train.worker import Worker

LION: dict[str, object] = {"name": "lion"}
ADAMW, ADAMW_8BIT = ({"name": name, "epsilon": 1e-4} for name in ("adamw", "adamw_8bit"))
"""With an epsilon that weighs more than the last bits of gradients that should be zero."""


def test_the_halves_hold_every_bit_of_a_weight() -> None:
    torch.manual_seed(0)
    bits = torch.randint(-(2**31), 2**31 - 1, (100_000,), dtype=torch.int64).to(torch.int32)
    odd = [0.0, -0.0, 1.0, 1e-45, -1e-40, 3.3895e38, 1.00390625, 1.01171875, -1.00390625]
    weights = torch.cat([bits.view(torch.float32), torch.tensor(odd)])
    weights = weights[weights.isfinite() & (weights.abs() < 3.38e38)]
    upper, rest = divide(weights)
    assert (upper.dtype, rest.dtype) == (torch.bfloat16, torch.int16)
    assert torch.equal(put_together(upper, rest).view(torch.int32), weights.view(torch.int32))
    apart = upper.view(torch.int16) != weights.bfloat16().view(torch.int16)
    assert (rest[apart] == -(1 << 15)).all(), "only exact halves are rounded another way"
    assert 0 < int(apart.sum()) < 20


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt2"])
@pytest.mark.parametrize("optimizer", [LION, ADAMW, ADAMW_8BIT], ids=lambda given: given["name"])
@pytest.mark.parametrize("budget", [40, 1000])
def test_a_run_ends_with_the_weights_of_one_with_whole_weights(
    architecture: str, optimizer: dict[str, object], budget: int, make_module: Any, make_examples: Any, build_loop: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In one micro-batch and in several. Where one optimiser moves both, to the last bit, once halves are rounded alike."""

    def take_up(self: Worker) -> None:
        for value, rows in self._copied():
            rows.copy_(divide(value.detach())[0])

    monkeypatch.setattr(Worker, "take_up", take_up)
    found = []
    for master in ("fp32", "split"):
        loop = build_loop(
            make_module(architecture), make_examples(11), optimizer=optimizer, dtype="bf16",
            token_budget=budget, clip_norm=0.0, options={"master": master},
        )  # fmt: skip
        losses = [step.loss for step in loop.steps()]
        found.append((losses, whole_weights(loop)))
    (losses, whole), (split_losses, halves) = found
    exact = optimizer is LION  # AdamW of whole weights is by a kernel, or by torch
    assert losses == (split_losses if exact else pytest.approx(split_losses, rel=1e-2))
    for one, other in zip(whole, halves, strict=True):
        assert torch.equal(one, other) if exact else (one - other).abs().mean() < 1e-4


def test_adamw_of_one_parameter_at_a_time_is_that_of_torch() -> None:
    torch.manual_seed(0)
    one, other = (torch.nn.Parameter(torch.linspace(-1, 1, 24).view(4, 6)) for _ in range(2))
    ours = EachAdamw([{"params": [one], "lr": 0.01, "weight_decay": 0.1}], {"betas": (0.9, 0.95), "eps": 1e-8})
    theirs = torch.optim.AdamW([other], lr=0.01, weight_decay=0.1, betas=(0.9, 0.95))
    for _ in range(20):
        one.grad = torch.randn(4, 6)
        other.grad = one.grad.clone()
        ours.step()
        theirs.step()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert {name: value.shape for name, value in ours.state[one].items()} == {
        name: value.shape for name, value in theirs.state[other].items()
    }


def test_the_norm_that_clips_is_that_of_whole_weights(make_module: Any, make_examples: Any, build_loop: Any) -> None:
    norms = []
    for master in ("fp32", "split"):
        options = {"master": master}
        loop = build_loop(
            make_module("llama"), make_examples(11), dtype="bf16", token_budget=40, clip_norm=0.1, options=options
        )
        norms.append([step.gradient_norm for step in loop.steps()])
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)
    assert min(norms[0]) > 0.1, "it clips"


def test_after_any_step_it_goes_on_with_the_same_bits(
    make_module: Any, make_examples: Any, build_loop: Any, tmp_path: Path
) -> None:
    def new_loop() -> Any:
        return build_loop(
            make_module("bert"), make_examples(11), dtype="bf16", token_budget=40, options={"master": "split"}
        )

    straight, store = new_loop(), CheckpointStore(tmp_path, keep_last=9)
    for step in straight.steps():
        position = {"loop": straight.state()}
        store.commit(step.step, lambda draft: write_state(draft, straight.module, straight.optimizer), position)
    wanted = whole_weights(straight)
    for commit in store.commits():
        resumed = new_loop()
        read_weights(commit.folder, resumed.module)
        read_moments(commit.folder, resumed.module, resumed.optimizer)
        saved: Any = commit.position
        resumed.restore(saved["loop"])
        for _ in resumed.steps():
            pass
        assert all(torch.equal(one, other) for one, other in zip(whole_weights(resumed), wanted, strict=True))
    assert commit.step == 6


@pytest.mark.parametrize(
    ("decided", "options", "change"),
    [
        ({"dtype": "fp32"}, {}, "train.dtype=bf16"),
        ({"dtype": "bf16"}, {"average": "ema"}, "train.average=none"),
        ({"dtype": "bf16"}, {"optimizer": {"name": "adafactor"}}, "train.optimizer=adamw"),
    ],
)
def test_what_cannot_be_had_with_it_is_told(
    decided: Any, options: Any, change: str, make_module: Any, make_examples: Any, build_loop: Any
) -> None:
    given = dict(options)
    optimizer = given.pop("optimizer", {})
    with pytest.raises(InputError) as caught:
        build_loop(
            make_module("bert"), make_examples(4), optimizer=optimizer, options={"master": "split", **given}, **decided
        )
    assert caught.value.where == "train.master"
    assert caught.value.hint == change


def whole_weights(loop: Any) -> list[torch.Tensor]:
    """In fp32, whichever way they are kept."""
    state = loop.optimizer.state
    return [
        put_together(each.detach(), state[each][REST]) if REST in state[each] else each.detach().float()
        for each in loop.module.parameters()
    ]
