"""The Plan decides what was left open, measures where it must, and respects what was asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.errors import InputError
from tunewright.train import probe
from tunewright.train.config import Train
from tunewright.train.plan import make_plan, trunk_size
from tunewright.types import Base


@pytest.fixture
def base(tmp_path: Path) -> Base:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 64}))
    return Base(
        name="m", folder=tmp_path, architecture="bert", kind="encoder", num_parameters=70_000_000, max_positions=128,
        vocabulary_size=250_000, licence="", source="", digest="", reason="",
    )  # fmt: skip


def test_what_was_asked_for_is_not_decided(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "gemm_rate", lambda *_: pytest.fail("measured although the precision was asked for"))
    config = Train.Config(
        device="cpu", threads=2, dtype="bf16", kernels="torch", token_budget=99, recompute=True, epochs=7, lr=0.5
    )
    plan = make_plan(config, base, 1000)
    assert {choice.path: choice.value for choice in plan.choices} == {
        "train.device": "cpu", "train.threads": 2, "train.dtype": "bf16", "train.kernels": "torch",
        "train.token_budget": 99, "train.recompute": True, "train.epochs": 7, "train.lr": 0.5,
    }  # fmt: skip
    assert {choice.reason for choice in plan.choices} == {"as asked"}
    assert torch.get_num_threads() == 2


def test_everything_left_open_is_decided_with_a_reason(base: Base) -> None:
    plan = make_plan(Train.Config(device="cpu"), base, 1000)
    paths = [choice.path for choice in plan.choices]
    assert paths == [
        f"train.{name}"
        for name in ("device", "threads", "dtype", "kernels", "token_budget", "recompute", "epochs", "lr")
    ]
    assert all(choice.reason for choice in plan.choices)
    assert plan["train.threads"] == torch.get_num_threads()
    assert plan["train.dtype"] in ("fp32", "bf16")


@pytest.mark.parametrize(("bf16", "expected"), [(100.0, "fp32"), (129.0, "fp32"), (130.0, "bf16"), (800.0, "bf16")])
def test_bf16_is_taken_where_it_was_measured_to_pay(
    base: Base, monkeypatch: pytest.MonkeyPatch, bf16: float, expected: str
) -> None:
    widths = []

    def rate(width: int, dtype: torch.dtype) -> float:
        widths.append(width)
        return bf16 if dtype == torch.bfloat16 else 100.0

    monkeypatch.setattr(probe, "gemm_rate", rate)
    choice = probe.probe_dtype(base, "cpu")
    assert choice.value == expected
    assert choice.reason == (
        f"measured {bf16:.0f} against 100 GFLOP/s in fp32 at this model's width (64): {bf16 / 100:.1f} times"
    )
    assert widths == [64, 64]


def test_the_rate_is_a_measurement(base: Base) -> None:
    """Twice the work at half the speed would not go unseen: the figure is that of a product timed here."""
    choice = probe.probe_dtype(base, "cpu")
    found = re.fullmatch(
        r"measured (\d+) against (\d+) GFLOP/s in fp32 at this model's width \(64\): .*", choice.reason
    )
    assert found
    assert int(found[2]) > 0


def test_the_device_is_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert probe.choose_device("auto").value == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert probe.choose_device("auto").value == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert probe.choose_device("auto").value == "cuda"
    assert probe.choose_device("cpu").value == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        probe.choose_device("cuda")
    assert (caught.value.where, caught.value.given, caught.value.allowed) == ("train.device", "cuda", "cpu")


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "epochs"),
    [(1, 32, 20), (320, 32, 20), (640, 32, 15), (3_000, 32, 4), (3_200, 32, 3), (100_000, 32, 3), (100, 1, 3)],
)
def test_little_data_are_passed_more_often(base: Base, num_rows: int, batch_size: int, epochs: int) -> None:
    plan = make_plan(Train.Config(batch_size=batch_size, dtype="fp32", device="cpu"), base, num_rows)
    assert plan["train.epochs"] == epochs


@pytest.mark.parametrize(("vocabulary_size", "rate"), [(250_000, 1e-4), (156_251, 1e-4), (100_000, 5e-5)])
def test_the_rate_goes_by_the_size_outside_the_embedding(base: Base, vocabulary_size: int, rate: float) -> None:
    from dataclasses import replace

    changed = replace(base, vocabulary_size=vocabulary_size)
    assert trunk_size(changed) == 70_000_000 - 64 * vocabulary_size
    plan: Any = make_plan(Train.Config(dtype="fp32", device="cpu"), changed, 10)
    assert plan["train.lr"] == rate


def test_the_method_moves_the_usual_rate_and_not_the_one_asked_for(base: Base) -> None:
    config = Train.Config(dtype="fp32", device="cpu")
    plan = make_plan(config, base, 10, lr_factor=4.0)
    choice = next(choice for choice in plan.choices if choice.path == "train.lr")
    assert choice.value == 4e-4
    assert choice.reason.endswith("times 4 for what this method trains")
    lion = Train.Config.model_validate({"dtype": "fp32", "device": "cpu", "optimizer": "lion"})
    choice = make_plan(lion, base, 10, lr_factor=4.0).choices[-1]
    assert (choice.path, choice.value) == ("train.lr", 8e-5)
    assert choice.reason.endswith("times 4 for what this method trains, times 0.2 for lion")
    assert make_plan(Train.Config(dtype="fp32", device="cpu", lr=0.01), base, 10, lr_factor=4.0)["train.lr"] == 0.01


def test_what_the_method_usually_does_is_done_unless_the_recipe_says(base: Base) -> None:
    config = Train.Config(device="cpu", dtype="fp32")
    usual = [make_plan(config, base, 10, recomputes=wanted)["train.recompute"] for wanted in (False, True)]
    assert usual == [False, True]
    asked = Train.Config(device="cpu", dtype="fp32", recompute=False)
    assert make_plan(asked, base, 10, recomputes=True)["train.recompute"] is False
