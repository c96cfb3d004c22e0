"""The train stage end to end: evaluations, commits, early stopping, interruption, resumption, the best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.batches import Examples
from tunewright.train.config import Train
from tunewright.train.state import WEIGHTS
from tunewright.train.train import Fit, train
from tunewright.types import Checkpoint

MakeFit = Callable[..., Fit]
MakeBench = Callable[..., Any]
MakeExamples = Callable[..., Examples]


@pytest.fixture
def run(make_fit: MakeFit, make_examples: MakeExamples) -> Callable[..., Checkpoint]:
    """Ten rows, three updates an epoch, two epochs unless told otherwise."""

    def run(bench: Any, module: nn.Module, **options: Any) -> Checkpoint:
        return train(make_fit(module, **options), make_examples(10), bench.watch())

    return run


@dataclass
class StopAt:
    """Asks for the end once ``step`` steps have been told."""

    bench: Any
    step: int

    def __call__(self) -> bool:
        return bool(self.bench.told) and self.bench.told[-1][1] >= self.step


def copy_of(module: nn.Module) -> Any:
    other = type(module)()
    other.load_state_dict(module.state_dict())
    return other


def weights_of(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def test_it_evaluates_each_epoch_and_ends_with_the_best_weights(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    bench, again = make_bench(scores=[0.6, 0.9, 0.8]), copy_of(module)
    checkpoint = run(bench, module, decided={"epochs": 3})
    assert (checkpoint.step, checkpoint.metric, checkpoint.stopped_because) == (6, 0.9, "all epochs done")
    best, latest = bench.checkpoints.best(), bench.checkpoints.latest()
    assert (best.step, latest.step) == (6, 9)
    assert best.folder == checkpoint.folder
    assert (checkpoint.folder / WEIGHTS).is_file()
    evaluations = bench.events.read("evaluation")
    assert [(event["step"], event["value"]) for event in evaluations] == [(3, 0.6), (6, 0.9), (9, 0.8)]
    assert all(set(event["metrics"]) == {"accuracy", "loss"} for event in evaluations)
    assert [event["step"] for event in bench.events.read("step")] == list(range(1, 10))

    until_best = run(make_bench("short"), again, decided={"epochs": 3}, target=0.0, evaluate_every=6)
    assert until_best.step == 6
    assert same(module.state_dict(), again.state_dict())


def test_the_validation_loss_is_the_objective_on_the_validation_rows(
    module: Any, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    bench = make_bench()
    run(bench, module, decided={"epochs": 1})
    with torch.no_grad():
        states = [module.embedding(torch.from_numpy(ids)).mean(dim=0) for ids in bench.validation.ids]
        logits = module.output(torch.stack(states))
    wanted = nn.functional.cross_entropy(logits, bench.validation.targets[:, 0].long())
    assert bench.events.read("evaluation")[0]["metrics"]["loss"] == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize(
    ("scores", "higher", "options", "step", "because"),
    [
        ([0.9, 0.8, 0.7, 1.0], True, {"patience": 2}, 3, "no gain in 2 evaluations"),
        ([0.9, 0.8, 0.7, 1.0], True, {"patience": 0}, 12, "all epochs done"),
        ([0.9, 0.8, 0.7, 1.0], False, {"patience": 2}, 9, "all epochs done"),
        ([0.9], True, {"target": 0.9}, 3, "the target 0.9 was reached"),
        ([0.5, 0.4, 0.3, 0.2], False, {"target": 0.3}, 9, "the target 0.3 was reached"),
        ([None, None, None], True, {"patience": 3}, 9, "no gain in 3 evaluations"),
        ([math.nan, 0.2, math.nan, math.nan], True, {"patience": 0}, 6, "all epochs done"),
    ],
)
def test_when_and_why_it_ends(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint], scores: list[float | None], higher: bool,
    options: dict[str, Any], step: int, because: str,
) -> None:  # fmt: skip
    """``step`` is that of the best checkpoint; where nothing was measured, the last one."""
    bench = make_bench(scores=scores, higher_is_better=higher)
    checkpoint = run(bench, module, decided={"epochs": 4}, **options)
    assert (checkpoint.step, checkpoint.stopped_because) == (step, because)


def test_a_finished_run_does_nothing_and_returns_the_same_checkpoint(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    bench = make_bench()
    fresh = copy_of(module)
    checkpoint = run(bench, module)
    num_events, num_told = len(bench.events.read()), len(bench.told)
    assert run(bench, fresh) == checkpoint
    assert same(fresh.state_dict(), module.state_dict())
    assert (len(bench.events.read()), len(bench.told)) == (num_events, num_told)


def test_a_run_that_stopped_early_stays_finished(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    bench = make_bench(scores=[0.9])
    checkpoint = run(bench, module, target=0.5)
    bench.scores = [0.0]
    assert run(bench, copy_of(module), target=0.5) == checkpoint


@pytest.mark.parametrize("stop_at", range(1, 7))
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_interrupted_anywhere_it_commits_and_the_next_run_ends_with_the_same_bits(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint], stop_at: int, optimizer: str
) -> None:
    straight, stopped, resumed = module, copy_of(module), copy_of(module)
    options = {"optimizer": {"name": optimizer}, "evaluate_every": 4}
    wanted = run(make_bench("straight"), straight, **options)

    bench = make_bench("stopped")
    bench.asked_to_stop = StopAt(bench, stop_at)
    first = run(bench, stopped, **options)
    assert bench.checkpoints.latest().step == stop_at
    assert first.stopped_because == ("all epochs done" if stop_at == 6 else "")
    bench.asked_to_stop = lambda: False
    last = run(bench, resumed, **options)
    assert (last.step, last.metric, last.stopped_because) == (wanted.step, wanted.metric, wanted.stopped_because)
    assert same(resumed.state_dict(), straight.state_dict())
    assert [event["step"] for event in bench.events.read("step")] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in bench.events.read("evaluation")] == [4, 6]


def test_killed_between_commits_it_repeats_the_lost_steps_to_the_same_bits(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    """Patience and the best score are taken up again with the weights."""
    scores: list[float | None] = [0.5, 0.7, 0.6, 0.6]
    straight, killed, resumed = module, copy_of(module), copy_of(module)
    options = {"decided": {"epochs": 5}, "patience": 2}
    wanted = run(make_bench("straight", scores=list(scores)), straight, **options)
    assert wanted.stopped_because == "no gain in 2 evaluations"

    class Killed(Exception):
        pass

    def kill() -> bool:
        if bench.told and bench.told[-1][1] == 8:
            raise Killed
        return False

    bench = make_bench("killed", scores=list(scores), asked_to_stop=kill)
    with pytest.raises(Killed):
        run(bench, killed, **options)
    assert bench.checkpoints.latest().step == 6
    bench.asked_to_stop = lambda: False
    bench.events.rewind(6)
    last = run(bench, resumed, **options)
    assert (last.step, last.metric, last.stopped_because) == (6, 0.7, wanted.stopped_because)
    assert same(resumed.state_dict(), straight.state_dict())
    assert [event["step"] for event in bench.events.read("step")] == list(range(1, 13))


def test_events_are_on_the_drive_before_each_commit(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    bench = make_bench()
    on_drive: list[int] = []

    class Observed(CheckpointStore):
        def commit(self, step: int, *arguments: Any, **options: Any) -> Any:
            lines = (bench.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
            on_drive.append(sum('"kind":"step"' in line.replace(" ", "") for line in lines) - step)
            return super().commit(step, *arguments, **options)

    bench.checkpoints = Observed(bench.folder / "checkpoints")
    run(bench, module)
    assert on_drive == [0, 0]


def test_commits_in_between_carry_no_score(
    module: nn.Module, make_bench: MakeBench, run: Callable[..., Checkpoint]
) -> None:
    """So that the best is always one that was measured."""
    bench = make_bench(scores=[0.9, 0.5])
    bench.checkpoints = CheckpointStore(bench.folder / "checkpoints", keep_last=10)
    assert run(bench, module, commit_seconds=1e-9).step == 3
    found = [(commit.step, commit.metric) for commit in bench.checkpoints.commits()]
    assert found == [(1, None), (2, None), (3, 0.9), (4, None), (5, None), (6, 0.5)]


def test_options_have_the_defaults_that_the_docs_name() -> None:
    config = Train.Config()
    assert (config.batch_size, config.patience, config.optimizer.name, config.dtype) == (32, 3, "adamw", "auto")
