"""Spikes: which updates count as one, that clean curves hold none, and that a poisoned run ends like a clean one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.errors import GateError
from tunewright.train.batches import Batches
from tunewright.train.loop import Loop
from tunewright.train.spikes import MOST_INCIDENTS, WARM, WINDOW, Incident, Spikes
from tunewright.train.train import train
from tunewright.train.update import Update
from tunewright.types import Batch, Directive, Step

SPIKE = 70
"""The poisoned update, counted from 1."""
EPOCHS = 12
"""Of ten updates each."""


def step(number: int, loss: float, norm: float, *, skipped: bool = False) -> Step:
    return Step(
        step=number, epoch=1.0, loss=loss, lr=0.1, gradient_norm=norm, num_examples=1, num_tokens=1, skipped=skipped,
        row_ids=(number,),
    )  # fmt: skip


def noted(number: int) -> Incident:
    return Incident(step=number, loss=9.0, gradient_norm=9.0, usual_loss=1.0, usual_norm=1.0, row_ids=(1, 2))


def warmed(loss: float = 1.0, norm: float = 1.0) -> Spikes:
    spikes = Spikes(lr=0.1)
    told = [spikes.saw(step(number, loss, norm)) for number in range(1, WARM + 1)]
    assert [bool(each) for each in told] == [False] * (WARM - 1) + [True]
    assert told[-1] == (Directive.COMMIT,)
    return spikes


def clean_curves(num_steps: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Losses and norms [T, 2] of runs with nothing wrong: noise of Student's t with 3 degrees, batches of few or many rows."""
    random = np.random.default_rng(seed)
    found = {}
    for spread in (0.02, 0.1, 0.3):
        shared = np.abs(random.standard_t(3, num_steps))
        own = np.abs(random.standard_t(3, num_steps))
        trend = 0.2 + 2.0 * np.exp(-np.arange(num_steps) / 2000)
        loss = trend * (1 + spread * shared)
        norm = np.exp(0.3 * random.normal(size=num_steps)) * (1 + spread * (0.7 * shared + 0.7 * own))
        found[f"t, {spread}"] = np.stack([loss, norm], axis=1)
    rows = random.random(num_steps) < 0.01  # learnt by heart, but for one mislabelled row in a hundred
    loss = np.exp(random.normal(-5, 0.5, num_steps)) + rows * random.uniform(0.2, 0.3, num_steps)
    loss[:200] += 4.0
    found["by heart"] = np.stack([loss, 40 * loss], axis=1)
    flat = random.gamma(8.0, 0.25, (num_steps, 2))
    found["flat"] = flat
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_clean_updates_raise_at_most_one_alarm(seed: int) -> None:
    alarms = {}
    for name, curve in clean_curves(10_000, seed).items():
        spikes = Spikes(lr=0.1)
        told = [spikes.saw(step(number, *values)) for number, values in enumerate(curve.tolist(), 1)]
        alarms[name] = sum(Directive.ROLL_BACK in each for each in told)
    assert all(number <= 1 for number in alarms.values()), alarms


def test_a_loss_and_a_norm_far_out_are_a_spike_and_one_alone_is_none() -> None:
    spikes = warmed()
    assert spikes.saw(step(40, 20.0, 1.0)) == ()
    assert spikes.saw(step(41, 1.0, 20.0)) == ()
    assert spikes.saw(step(42, 20.0, 20.0, skipped=True)) == ()
    before = len(spikes.window)
    assert spikes.saw(step(43, 20.0, 20.0)) == (Directive.ROLL_BACK,)
    assert (len(spikes.window), spikes.incidents) == (before, [])
    wanted = Incident(step=43, loss=20.0, gradient_norm=20.0, usual_loss=1.0, usual_norm=1.0, row_ids=(43,))
    assert spikes.found == wanted


def test_a_loss_below_that_of_the_beginning_is_no_spike() -> None:
    """A mislabelled row, once the others are known by heart."""
    spikes = warmed(loss=3.0)
    for number in range(WARM + 1, WARM + WINDOW + 1):
        spikes.saw(step(number, 0.01, 0.01))
    assert spikes.saw(step(200, 2.0, 50.0)) == ()
    assert spikes.saw(step(201, 4.0, 50.0)) == (Directive.ROLL_BACK,)


def test_what_it_remembers_survives_the_checkpoint() -> None:
    import json

    spikes = warmed(loss=0.1, norm=1 / 3)
    spikes.take_in(noted(20))
    again = Spikes(lr=0.1)
    again.restore(json.loads(json.dumps(spikes.state())))
    assert (again.window, again.beginning, again.incidents) == (spikes.window, spikes.beginning, spikes.incidents)
    assert again.state() == spikes.state()


def test_a_second_spike_nearby_halves_the_rate_for_a_stretch() -> None:
    spikes = Spikes(lr=0.1)
    spikes.take_in(noted(100))
    assert [spikes.share(number - 1) for number in (99, 100, 101)] == [1.0, 0.0, 1.0]
    spikes.take_in(noted(100 + WINDOW))
    late = 100 + WINDOW
    numbers = (late - 1, late, late + 1, late + WINDOW, late + WINDOW + 1)
    assert [spikes.share(number - 1) for number in numbers] == [1.0, 0.0, 0.5, 0.5, 1.0]
    spikes.take_in(noted(late + WINDOW + 1))
    assert spikes.share(late + WINDOW + 1) == 1.0


def test_too_many_in_a_thousand_updates_end_the_run_with_the_cause() -> None:
    spikes = Spikes(lr=0.1)
    for number in range(MOST_INCIDENTS):
        spikes.take_in(noted(300 * number + 1))
    spikes.take_in(noted(300 * MOST_INCIDENTS + 1))  # the first ones are too long ago
    last = 300 * MOST_INCIDENTS + 2
    spikes.take_in(noted(last))
    with pytest.raises(GateError, match="6 spikes within 1,000 updates: the training diverges") as stopped:
        spikes.take_in(noted(last + 1))
    assert stopped.value.hint == "train.lr=0.01"
    assert "rows 1, 2" in str(stopped.value)
    assert "train.heal=false" in stopped.value.allowed


# ------------------------------------------------------------------------------------------------- whole trainings


class Dyed(nn.Module):
    """Shows the rows of a poisoned update enlarged: their embeddings are scaled."""

    scale = 1.0

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> torch.Tensor:
        stream = batch.streams["source"]
        parts = stream.ids.tensor_split(stream.bounds[1:-1])
        states = torch.stack([self.module.embedding(part).mean(dim=0) for part in parts])
        logits: torch.Tensor = self.module.output(self.module.dropout(self.scale * states))
        return logits


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Spoils the batches of some updates (counted from 1): the rows are enlarged, and all their labels wrong."""
    real = Batches.micro_batches

    def spoil(*numbers: int) -> None:
        def spoilt(self: Batches, number: int) -> Any:
            for batch in real(self, number):
                if number + 1 not in numbers:
                    yield batch
                    continue
                Dyed.scale = 300.0
                target = (batch.columns["target"] + 1) % 3
                yield Batch(batch.streams, {"target": target}, batch.row_ids, batch.num_tokens)
                Dyed.scale = 1.0

        monkeypatch.setattr(Batches, "micro_batches", spoilt)

    return spoil


@pytest.fixture
def run(make_fit: Any, make_examples: Any) -> Callable[..., Any]:
    """120 updates of four rows over 40 rows; every row's label follows from its first token."""

    def run(bench: Any, module: nn.Module, watch: Any = None, **options: Any) -> Any:
        fit = make_fit(
            module, decided={"epochs": EPOCHS, "lr": 0.02}, **{"patience": 0, "evaluate_every": 30, **options}
        )
        return train(fit, make_examples(40), watch or bench.watch())

    return run


def dyed(module: Any) -> Dyed:
    again = type(module)()
    again.load_state_dict(module.state_dict())
    return Dyed(again)


def last_loss(bench: Any) -> float:
    return float(bench.events.read("evaluation")[-1]["metrics"]["loss"])


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def test_a_poisoned_batch_is_named_and_left_out_and_the_run_ends_like_a_clean_one(
    module: Any, make_bench: Any, run: Any, poison: Any
) -> None:
    clean, healed = make_bench("clean"), make_bench("healed")
    run(clean, dyed(module))
    hurt = dyed(module)
    poison(SPIKE)
    told: list[Any] = []
    watch = healed.watch()
    object.__setattr__(watch, "healed", lambda incidents: told.append(list(incidents)))
    run(healed, hurt, watch)
    events = healed.events.read("step")
    assert [event["step"] for event in events] == list(range(1, 10 * EPOCHS + 1))
    assert [event["step"] for event in events if event["skipped"]] == [SPIKE]
    assert [incident.step for incident in told[-1]] == [SPIKE]
    assert len(told) == 1
    assert told[-1][0].row_ids == tuple(events[SPIKE - 1]["row_ids"])
    assert (
        events[: SPIKE - 1]
        == [dict(e, time=f["time"]) for e, f in zip(clean.events.read("step"), events, strict=True)][: SPIKE - 1]
    )
    assert last_loss(healed) == pytest.approx(last_loss(clean), rel=0.05)


def test_several_poisoned_batches_and_nan_in_between_end_within_a_tolerance_of_a_clean_run(
    module: Any, make_bench: Any, run: Any, poison: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, healed = make_bench("clean"), make_bench("healed")
    run(clean, dyed(module))
    hurt = dyed(module)
    poison(50, 51, 52, 100)
    accumulate, norm, at = Loop._accumulate, Update.norm, [0]

    def noted(self: Loop) -> Any:
        at[0] = self.step
        return accumulate(self)

    def broken(self: Update) -> torch.Tensor:
        return norm(self) * (float("nan") if at[0] == 60 else 1.0)

    monkeypatch.setattr(Loop, "_accumulate", noted)
    monkeypatch.setattr(Update, "norm", broken)
    run(healed, hurt)
    steps = healed.events.read("step")
    assert [event["step"] for event in steps if event["skipped"]] == [50, 51, 52, 61, 100]
    rates = {event["step"]: event["lr"] for event in steps}
    usual = {event["step"]: event["lr"] for event in clean.events.read("step")}
    assert [round(rates[number] / usual[number], 6) for number in (49, 51 + 2, 99, 118)] == [1.0, 0.25, 0.25, 0.5]
    assert last_loss(healed) == pytest.approx(last_loss(clean), rel=0.15)


def test_a_run_that_only_diverges_is_given_up(module: Any, make_bench: Any, run: Any, poison: Any) -> None:
    hurt = dyed(module)
    poison(*range(60, 80))
    bench = make_bench()
    with pytest.raises(GateError, match="6 spikes within 1,000 updates"):
        run(bench, hurt)
    with pytest.raises(GateError, match="6 spikes within 1,000 updates"):  # the same when it is asked to go on
        run(bench, hurt)


def test_without_heal_nothing_is_taken_back(module: Any, make_bench: Any, run: Any, poison: Any) -> None:
    hurt = dyed(module)
    poison(SPIKE)
    bench = make_bench()
    run(bench, hurt, heal=False)
    assert not any(event["skipped"] for event in bench.events.read("step"))


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", ["before the commit", "after it", "some steps later", "two commits"])
def test_killed_in_the_middle_of_healing_it_ends_with_the_same_bits(
    module: Any, make_bench: Any, run: Any, poison: Any, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits at other steps, and a kill at each moment of a roll-back, change nothing."""
    straight, killed = dyed(module), dyed(module)
    poison(SPIKE, SPIKE + 3)
    whole = make_bench("straight")
    run(whole, straight)
    wanted = [{**event, "time": ""} for event in whole.events.read("step")]

    bench = make_bench("killed")
    options: dict[str, Any] = {"commit_seconds": 1e-9} if moment == "two commits" else {}
    alive = True

    def stop(at: int) -> Callable[[], bool]:
        def asked() -> bool:
            nonlocal alive
            healing = any(event["kind"] == "resumed" for event in bench.events.read())
            if alive and healing and bench.told[-1][1] >= at:
                alive = False
                raise Killed
            return False

        return asked

    if moment in ("some steps later", "two commits"):
        bench.asked_to_stop = stop(SPIKE + 1)
    else:
        real = type(bench.checkpoints).commit

        def commit(self: Any, number: int, *given: Any, **named: Any) -> Any:
            nonlocal alive
            if alive and named["position"]["spikes"]["incidents"]:
                alive = False
                if moment == "after it":
                    real(self, number, *given, **named)
                raise Killed
            return real(self, number, *given, **named)

        monkeypatch.setattr(type(bench.checkpoints), "commit", commit)
    with pytest.raises(Killed):
        run(bench, killed, **options)
    again = dyed(module)
    latest = bench.checkpoints.latest()
    bench.events.rewind(latest.step)
    run(bench, again, **options)
    assert [{**event, "time": ""} for event in bench.events.read("step")] == wanted
    assert all(torch.equal(one, other) for one, other in zip(weights(again), weights(straight), strict=True))
    found = bench.checkpoints.latest().position["spikes"]
    assert found == whole.checkpoints.latest().position["spikes"]
    assert [incident["step"] for incident in found["incidents"]] == [SPIKE, SPIKE + 3]
    assert all(one["step"] < other["step"] for one, other in pairwise(found["incidents"]))
