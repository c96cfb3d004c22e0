"""Weights in two halves lose nothing, and are moved as whole ones are; a run of them goes on bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunewright.errors import InputError
from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.average import Average
from tunewright.train.optimizer.base import EachAdamw
from tunewright.train.split import divide, join_weights, put_together, rest_of, set_whole, split_weights, whole
from tunewright.train.state import WEIGHTS, read_moments, read_weights, write_state
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


def test_a_commit_says_nothing_of_how_weights_are_kept(
    make_module: Any, make_examples: Any, build_loop: Any, tmp_path: Path
) -> None:
    """What one way has written the other goes on from, without a bit lost."""
    store = CheckpointStore(tmp_path, keep_last=9)
    loops = {
        master: build_loop(make_module("bert"), make_examples(11), dtype="bf16", options={"master": master})
        for master in ("split", "fp32")
    }
    for number, (one, other) in enumerate([("split", "fp32"), ("fp32", "split")]):
        writer, reader = loops[one], loops[other]
        for _, _step in zip(range(2), writer.steps(), strict=False):
            pass
        commit = store.commit(number, partial(write_state, module=writer.module, optimizer=writer.optimizer), {})
        read_weights(commit.folder, reader.module)
        read_moments(commit.folder, reader.module, reader.optimizer)
        assert all(torch.equal(*pair) for pair in zip(whole_weights(reader), whole_weights(writer), strict=True))
        assert {value.dtype for value in load_file(commit.folder / WEIGHTS).values()} == {torch.float32}


def test_what_is_frozen_is_kept_once_and_comes_back_to_the_bit(
    make_module: Any, make_examples: Any, build_loop: Any
) -> None:
    """A base that is bf16 anyway has no lower halves; one in fp32 keeps them where it does not change."""
    for is_exact in (True, False):
        losses = {}
        for master in ("fp32", "split"):
            module = make_module("llama")
            with torch.no_grad():
                for each in module.parameters():
                    each.copy_(each.bfloat16() if is_exact else each)
            before = {name: value.clone() for name, value in module.state_dict().items()}
            module.trunk.requires_grad_(False)
            loop = build_loop(module, make_examples(11), dtype="bf16", options={"master": master})
            losses[master] = [step.loss for step in loop.steps()]
            if master == "split":
                computing = [*loop.worker.module.modules()]
                tensors = [each for layer in computing for each in (*layer.parameters(), *vars(layer).values())]
                held = {each.untyped_storage().data_ptr() for each in tensors if isinstance(each, torch.Tensor)}
                frozen = [each for each in module.parameters() if not each.requires_grad]
                assert any(rest_of(each) is not None for each in frozen) == (not is_exact)
                assert all(each.dtype == torch.bfloat16 for each in frozen)
                assert {each.untyped_storage().data_ptr() for each in frozen} <= held
                join_weights(module)
            for name, value in module.state_dict().items():
                assert value.dtype == torch.float32
                assert name.startswith("head.") or torch.equal(value, before[name])
        assert losses["split"] == pytest.approx(losses["fp32"], rel=1e-2)


def test_a_mean_of_the_weights_is_that_of_whole_ones(make_module: Any) -> None:
    module = make_module("bert")
    split_weights(module)
    loop: Any = SimpleNamespace(module=module, worker=SimpleNamespace(take_up=lambda: None))
    average = Average(Average.Config(name="ema", decay=1.0), loop)
    name, parameter = next((name, each) for name, each in module.named_parameters() if each.numel() > 1000)
    torch.manual_seed(0)
    values = torch.randn(3, *parameter.shape)
    for number, value in enumerate(values, start=1):
        set_whole(parameter, value)
        average.saw(SimpleNamespace(step=number))  # type: ignore[arg-type]
    torch.testing.assert_close(average.means[name], values.mean(dim=0))
    with average.standing_in():
        assert torch.equal(whole(parameter), average.means[name])
    assert torch.equal(whole(parameter), values[-1])


@pytest.mark.parametrize(
    ("dtype", "optimizer", "change"),
    [("fp32", "adamw", "train.master=fp32"), ("bf16", "adafactor", "train.master=fp32")],
)
def test_what_cannot_be_had_with_it_is_told(
    dtype: str, optimizer: str, change: str, make_module: Any, make_examples: Any, build_loop: Any
) -> None:
    with pytest.raises(InputError, match="two halves") as caught:
        build_loop(
            make_module("bert"), make_examples(4), optimizer={"name": optimizer}, dtype=dtype,
            options={"master": "split"},
        )  # fmt: skip
    assert caught.value.where == "train.master"
    assert caught.value.hint == change


def whole_weights(loop: Any) -> list[torch.Tensor]:
    """In fp32, whichever way they are kept."""
    return [whole(each) for each in loop.module.parameters()]
