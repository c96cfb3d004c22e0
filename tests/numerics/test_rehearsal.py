"""A training that was rehearsed has the bits of one that was not: every loss, every weight, every moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch

from tunewright import extensions
from tunewright.store.run import RunFolder
from tunewright.train import pieces
from tunewright.train.config import Train
from tunewright.train.rehearsal import Rehearsal
from tunewright.types import Choice, Objective, Plan

TEST_ROWS = pa.table({"source": pa.array([[5, 6, 7], [8]], pa.list_(pa.int32()))})


def everything(loop: Any) -> dict[str, torch.Tensor]:
    """Weights and moments by name."""
    found = dict(loop.module.state_dict())
    for name, parameter in loop.module.named_parameters():
        for moment, value in loop.optimizer.state.get(parameter, {}).items():
            found[f"{name}|{moment}"] = value
    return found


@pytest.mark.parametrize(
    "chosen",
    [
        ("bert", "full", "adamw", "fp32"),
        ("bert", "full", "adamw", "bf16"),
        ("gpt2", "full", "sgd", "bf16"),
        ("llama", "lora", "adamw", "fp32"),
        ("bert", "head", "adamw", "fp32"),
    ],
    ids=" ".join,
)
def test_with_and_without_a_rehearsal_the_bits_are_the_same(
    chosen: tuple[str, str, str, str], make_module: Callable[..., Any], make_examples: Any, build_loop: Any,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Dropout is on; every piece is run: the rehearsal may take as long as it likes."""
    monkeypatch.setattr(pieces, "MOST_SHARE", 1e6)
    examples = make_examples(11)
    architecture, name, optimizer, dtype = chosen
    method: Any = extensions.load("adapt.method", name)

    def new_loop() -> Any:
        trainable = method(method.Config()).wrap(make_module(architecture), Objective("cross_entropy"), 5)
        return build_loop(trainable.module, examples, optimizer=optimizer, dtype=dtype, token_budget=40)

    plain, rehearsed = new_loop(), new_loop()
    folder = RunFolder.open(tmp_path / "run", create=True)
    decided = {"device": "cpu", "epochs": 2, "token_budget": 40}
    said: list[Choice] = []
    rehearsal = Rehearsal(
        config=Train.Config.model_validate({"batch_size": 4, "optimizer": {"name": optimizer}}),
        plan=Plan(tuple(Choice(f"train.{name}", value, "test") for name, value in decided.items())),
        folder=folder,
        base=SimpleNamespace(num_parameters=1000),  # type: ignore[arg-type]
        encoded=SimpleNamespace(splits={"test": 2}, table=lambda _: TEST_ROWS),  # type: ignore[arg-type]
        validation=make_examples(6, seed=1),
        command=["tunewright", "run", "rows.csv"],
        say=said.append,
        tell=lambda *_: None,
    )
    drawn = torch.get_rng_state()
    rehearsal(rehearsed)
    assert torch.equal(drawn, torch.get_rng_state())
    kept = folder.read_json("forecast.json")
    assert kept is not None
    assert kept["forecast"]["is_measured"]
    assert kept["forecast"]["num_updates"] == 6
    assert [choice.path for choice in said] == ["forecast"]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["forecast.json", "run.json"]

    assert list(rehearsed.steps()) == list(plain.steps())
    wanted, found = everything(plain), everything(rehearsed)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
