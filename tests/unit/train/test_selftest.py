"""The self-test before a run: once, without a trace in the numbers, and a stop where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tunewright
from tunewright.errors import GateError
from tunewright.store import durable
from tunewright.store.digest import sha256_file
from tunewright.train import invariance, selftest
from tunewright.train.invariance import Invariance
from tunewright.types import Choice, Plan

QUICK = {"epochs": 2, "batch_size": 8, "lr": 1e-3, "dtype": "fp32", "threads": 1, "patience": 0}
ROWS = [{"text": f"a {word} film {number}", "label": word} for number in range(24) for word in ("good", "bad")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder in which nothing is recorded."""
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def train_one(tmp_path: Path, tiny_bert_folder: Path) -> Any:
    """Trains the tiny model under a name."""

    def go(name: str, **options: object) -> dict[str, Any]:
        train = {**QUICK, **options}
        return tunewright.run(
            ROWS, out=tmp_path / name / "run", model=str(tiny_bert_folder), train=train, until="train"
        )

    return go


def said(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(choice for choice in result["choices"] if choice["path"] == "train.selftest")
    return found


def broken(subject: invariance.Subject) -> Invariance:
    return Invariance(name="accumulation", deviation=0.5, bound=1e-4, sentence="a batch cut in two gives one gradient")


def test_a_run_ends_in_the_same_weights_with_it_and_without(train_one: Any, home: Path) -> None:
    """Dropout is on, so that one random number drawn in between would show."""
    without = train_one("without", selftest="off")
    assert not (home / "selftests").exists()
    tested = train_one("tested")
    assert len(list((home / "selftests").iterdir())) == 1
    recorded = train_one("recorded", lr=1e-3)
    weights = [sha256_file(Path(each["run"]) / "model" / "model.safetensors") for each in (without, tested, recorded)]
    assert len(set(weights)) == 1
    assert [said(each)["value"] for each in (without, tested, recorded)] == ["off", "passed", "passed"]
    assert "last window" in said(tested)["reason"]
    assert said(recorded) == said(tested), "what was tested then is said again"


def test_a_failure_stops_the_run_unless_that_is_asked_for(train_one: Any, home: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(invariance, "CHECKS", (broken,))
    with pytest.raises(GateError) as stopped:
        train_one("stopped")
    assert "a batch cut in two gives one gradient" in stopped.value.problem
    assert stopped.value.where == "train.selftest, accumulation"
    assert stopped.value.allowed == "a deviation of at most 0.0001"
    assert "train.selftest=tell" in stopped.value.hint
    told = train_one("told", selftest="tell")
    assert said(told)["value"] == "failed"
    assert "deviation 0.5" in said(told)["reason"]
    assert not (home / "selftests").exists(), "a failure is no pass"


def test_a_pass_holds_for_what_it_was_made_with(tiny_bert_folder: Path, tiny_gpt2_folder: Path) -> None:
    from tunewright.model.select import Select, select
    from tunewright.train.config import Train

    one, other = (select(Select.Config(name=str(folder)), None) for folder in (tiny_bert_folder, tiny_gpt2_folder))
    task, config = {"name": "classify"}, Train.Config()
    sgd = Train.Config.model_validate({"optimizer": "sgd"}).optimizer
    plans = [
        Plan(
            tuple(
                Choice(f"train.{name}", value, "test")
                for name, value in zip(("device", "dtype", "kernels", "recompute"), how, strict=True)
            )
        )
        for how in (
            ("cpu", "fp32", "torch", False),
            ("cpu", "bf16", "torch", False),
            ("cuda", "bf16", "torch", False),
            ("cpu", "fp32", "torch", True),
        )
    ]
    key = selftest.pass_key(one, config, [task], plans[0])
    assert len({selftest.pass_key(one, config, [task], plan) for plan in plans}) == 4
    assert key == selftest.pass_key(one, Train.Config(lr=0.1, epochs=9, batch_size=3), [task], plans[0])
    assert key != selftest.pass_key(other, config, [task], plans[0])
    assert key != selftest.pass_key(one, config, [{**task, "pooling": "mean"}], plans[0])
    assert key != selftest.pass_key(one, Train.Config(optimizer=sgd), [task], plans[0])


def test_a_disk_that_refuses_the_record_stops_nothing(train_one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.errors import MachineError

    def refuse(path: Path, content: bytes) -> None:
        raise MachineError("the disk is full", where=str(path))

    monkeypatch.setattr(selftest, "durable", type("Full", (), {"replace_document": staticmethod(refuse)}))
    assert said(train_one("full"))["value"] == "passed"
    assert durable.replace_document is not refuse
