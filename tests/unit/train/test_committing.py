"""Commits in the background: training goes on meanwhile, the bytes are those of a commit that is waited for, errors surface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest
import torch
from torch import nn

from tunewright.errors import MachineError
from tunewright.store.checkpoints import CheckpointStore, Commit
from tunewright.train.committing import Commits
from tunewright.train.state import MOMENTS, WEIGHTS, tensors_of, write_state, write_tensors
from tunewright.train.train import make_loop, train

LONG = 60.0
"""Seconds after which a test gives up waiting for an event that has to come."""


class Held(CheckpointStore):
    """Says when a commit begins, and waits until it may go on."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.begun, self.may_go_on = Event(), Event()
        self.threads: list[bool] = []
        self.problem: MachineError | None = None

    def commit(self, step: int, *given: Any, **named: Any) -> Commit:
        self.threads.append(current_thread() is main_thread())
        self.begun.set()
        assert self.may_go_on.wait(LONG)
        if self.problem is not None:
            raise self.problem
        return super().commit(step, *given, **named)


def put(commits: Commits, loop: Any) -> None:
    weights, moments = tensors_of(loop.module, loop.optimizer, copies=True)
    commits.commit(
        loop.step, lambda draft: write_tensors(draft, weights, moments), position={}, metric=None, keep_best="max"
    )


def bytes_of(commit: Commit) -> list[bytes]:
    return [(commit.folder / name).read_bytes() for name in (WEIGHTS, MOMENTS)]


def test_the_loop_goes_on_and_the_bytes_are_those_of_the_moment_of_the_call(
    module: nn.Module, make_fit: Any, make_examples: Any, tmp_path: Path
) -> None:
    store, plain = Held(tmp_path / "held"), CheckpointStore(tmp_path / "plain", keep_last=9)
    loop = make_loop(make_fit(module), make_examples(20))
    steps = loop.steps()
    next(steps), next(steps)
    wanted = plain.commit(2, lambda draft: write_state(draft, loop.module, loop.optimizer))
    with Commits(store) as commits:
        put(commits, loop)
        assert store.begun.wait(LONG)
        for _ in range(4):
            next(steps)
            commits.raise_failure()
        assert loop.step == 6
        assert store.latest() is None
        store.may_go_on.set()
        commits.settle()
        found = store.latest()
    later = plain.commit(6, lambda draft: write_state(draft, loop.module, loop.optimizer))
    assert found is not None
    assert bytes_of(found) == bytes_of(wanted) != bytes_of(later)
    assert (found.step, store.threads) == (2, [False])


def test_one_at_a_time_in_their_order_and_the_end_waits(
    module: nn.Module, make_fit: Any, make_examples: Any, tmp_path: Path
) -> None:
    store = Held(tmp_path, keep_last=10)
    loop = make_loop(make_fit(module), make_examples(20))
    with Commits(store) as commits:
        for number, _ in enumerate(loop.steps(), 1):
            store.may_go_on.set()  # for the one before, which the next call waits for
            commits.settle()
            store.may_go_on.clear()
            put(commits, loop)
            assert len(store.commits()) == number - 1
        store.may_go_on.set()
    assert [(commit.number, commit.step) for commit in store.commits()] == [(n, n) for n in range(1, 11)]


def test_a_failure_is_raised_once_at_the_next_step_and_earlier_commits_stand(
    module: nn.Module, make_fit: Any, make_examples: Any, tmp_path: Path
) -> None:
    store = Held(tmp_path)
    store.may_go_on.set()
    loop = make_loop(make_fit(module), make_examples(20))
    next(loop.steps())
    with Commits(store) as commits:
        put(commits, loop)
        commits.settle()
        store.problem = MachineError("the disk is full")
        put(commits, loop)
        with pytest.raises(MachineError, match="full"):
            commits.settle()
        commits.raise_failure()
        store.problem = None
        put(commits, loop)
    assert [commit.number for commit in store.commits()] == [2]
    store.problem = MachineError("the disk is full")
    with pytest.raises(MachineError, match="full"), Commits(store) as commits:
        put(commits, loop)


def test_a_training_whose_disk_fails_stops_with_the_reason(
    module: nn.Module, make_bench: Any, make_fit: Callable[..., Any], make_examples: Any
) -> None:
    bench = make_bench()
    store = Held(bench.folder / "checkpoints")
    store.may_go_on.set()
    store.problem = MachineError("the disk is full")
    bench.checkpoints = store
    with pytest.raises(MachineError, match="full"):
        train(make_fit(module, decided={"epochs": 9}), make_examples(10), bench.watch())
    assert len(bench.events.read("evaluation")) < 9
    assert store.latest() is None


def test_the_tensors_that_are_copied_share_nothing_with_the_model(module: nn.Module) -> None:
    from tunewright.train.state import tensors_of

    optimizer = torch.optim.AdamW(module.parameters())
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    owned = {value.data_ptr() for value in module.state_dict().values()}
    owned |= {value.data_ptr() for each in optimizer.state.values() for value in each.values()}
    weights, moments = tensors_of(module, optimizer, copies=True)
    assert weights.keys() == module.state_dict().keys()
    assert not owned & {value.data_ptr() for value in (*weights.values(), *moments.values())}
