"""The record of a search on disk, and the loop that fills it, with a measure of a few lines."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tunewright.errors import CorruptError, GateError, InputError, Interrupted
from tunewright.tune.bridge import Pruning, load_optuna
from tunewright.tune.config import Pruner, Tune
from tunewright.tune.search import Evaluated, TrialFailed, make_pruner, search
from tunewright.tune.study import open_study
from tunewright.types import Range, Space, Trial, Trials

SPACE: Space = {
    "train.lr": Range(low=1e-5, high=1e-2, log=True),
    "layers": Range(low=1, high=4, whole=True),
    "名": ("甲", "乙"),
}


def config(**options: Any) -> Tune.Config:
    return Tune.Config.model_validate({"strategy": "random", "pruner": "none", "trials": 6, **options})


def value_of(trial: Trial) -> float:
    return float(str(trial.parameters["layers"])) + (trial.parameters["名"] == "甲") / 2


def measured(trial: Trial, evaluated: Evaluated) -> float | None:
    for number in range(1, 4):
        if evaluated(number, value_of(trial) * number):
            return None
    return 3 * value_of(trial)


def run(path: Path, asked: Tune.Config, measure: Callable[[Trial, Evaluated], float | None] = measured) -> Trials:
    with open_study(path, SPACE, higher_is_better=True) as study:
        return search(asked, SPACE, measure, study)


def table(trials: Trials) -> list[tuple[object, ...]]:
    return [(t.number, t.parameters, t.state, t.value, t.validations, t.reason) for t in trials.all]


def test_what_was_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "搜索 {1}?%20#x.db"
    parameters: dict[str, Any] = {"train.lr": 0.1 + 0.2 - 0.29999, "layers": 3, "名": "乙"}
    ended = Trial(
        number=0, parameters=parameters, state="complete", value=1 / 3, validations={1: 1e-17, 2: 1 / 3}, seconds=1.5
    )
    with open_study(path, SPACE, higher_is_better=True) as study:
        trial = study.begin(parameters)
        for number, value in ended.validations.items():
            study.validated(trial, number, value)
        assert study.trials().all == (Trial(number=0, parameters=parameters, validations=ended.validations),)
        study.end(ended)
    with open_study(path, SPACE, higher_is_better=True) as study:
        assert study.trials().all == (ended,)
    assert [one.name for one in tmp_path.iterdir()] == [path.name], "no journal, nothing half made"


def test_a_search_measures_each_trial_once_and_more_can_be_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []

    def counting(trial: Trial, evaluated: Evaluated) -> float | None:
        seen.append(trial.number)
        return measured(trial, evaluated)

    first = run(tmp_path / "study.db", config(), counting)
    assert table(run(tmp_path / "study.db", config(), counting)) == table(first)
    assert seen == list(range(6))
    more = run(tmp_path / "study.db", config(trials=9), counting)
    assert seen == list(range(9))
    assert table(more) == table(run(tmp_path / "fresh.db", config(trials=9)))
    assert more.ranked[0].value == max(trial.value or 0 for trial in more.all)


def test_a_trial_that_was_cut_off_is_taken_up_under_its_own_parameters(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole.db", config(strategy={"name": "tpe", "startup": 2}))

    def cut_off(trial: Trial, evaluated: Evaluated) -> float | None:
        evaluated(1, value_of(trial))
        raise Interrupted("asked to stop")

    for _ in range(3):
        with pytest.raises(Interrupted):
            run(tmp_path / "study.db", config(strategy={"name": "tpe", "startup": 2}), cut_off)
        with open_study(tmp_path / "study.db", SPACE, higher_is_better=True) as study:
            (trial,) = study.trials().all
        assert (trial.state, trial.parameters) == ("running", whole.all[0].parameters)
    assert table(run(tmp_path / "study.db", config(strategy={"name": "tpe", "startup": 2}))) == table(whole)


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_decision_to_prune_outlives_a_crash_that_comes_before_it_is_written(pruner: str, tmp_path: Path) -> None:
    asked = config(trials=12, pruner={"name": pruner, "startup": 2})
    whole = run(tmp_path / "whole.db", asked)
    pruned = [trial for trial in whole.all if trial.state == "pruned"]
    assert pruned
    assert all(trial.value == trial.validations[max(trial.validations)] for trial in pruned)
    assert all(trial not in whole.ranked for trial in pruned)

    def crashing(trial: Trial, evaluated: Evaluated) -> float | None:
        result = measured(trial, evaluated)
        if result is None:
            raise KeyboardInterrupt
        return result

    num_crashes = 0
    while True:
        try:
            found = run(tmp_path / "study.db", asked, crashing)
            break
        except KeyboardInterrupt:
            num_crashes += 1
    assert table(found) == table(whole)
    assert num_crashes == len(pruned), "what was decided is not measured again"


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("name", ["median", "halving"])
def test_pruning_decides_as_one_uninterrupted_study_does(name: str, higher_is_better: bool) -> None:
    """The oracle is optuna driven directly, in one process."""
    import random

    draw = random.Random(3)
    options = Pruner.Config.model_validate({"name": name, "startup": 2})
    load_optuna()
    direction: Any = "maximize" if higher_is_better else "minimize"
    study = optuna.create_study(
        direction=direction, pruner=make_pruner(options), sampler=optuna.samplers.RandomSampler(0)
    )
    ended: list[Trial] = []
    decided = []
    for number in range(14):
        live = study.ask()
        again = Pruning(make_pruner(options), Trials(tuple(ended), higher_is_better))
        validations: dict[int, float] = {}
        stops = False
        for evaluation in range(1, 7):
            value = validations[evaluation] = draw.random()
            live.report(value, evaluation)
            stops = live.should_prune()
            decided.append(stops)
            assert again.stops(evaluation, value) == stops
            if stops:
                break
        state = "pruned" if stops else "complete"
        best = max(validations.values()) if higher_is_better else min(validations.values())
        study.tell(live, None if stops else best, optuna.trial.TrialState.PRUNED if stops else None)
        ended.append(
            Trial(
                number=number,
                parameters={},
                state="pruned" if stops else "complete",
                value=best,
                validations=validations,
            )
        )
        assert state == ended[-1].state
    assert True in decided
    assert False in decided


def test_warm_up_and_start_up_hold_the_median_back() -> None:
    good = [Trial(number=n, parameters={}, state="complete", value=1.0, validations={1: 1.0, 2: 1.0}) for n in range(3)]
    options = Pruner.Config(name="median", startup=3, warmup=1)
    assert not Pruning(make_pruner(options), Trials(tuple(good[:2]), True)).stops(2, 0.0)
    pruning = Pruning(make_pruner(options), Trials(tuple(good), True))
    assert not pruning.stops(1, 0.0)
    assert pruning.stops(2, 0.0)


def test_failed_trials_are_recorded_and_too_many_in_a_row_end_the_search(tmp_path: Path) -> None:
    def failing(trial: Trial, evaluated: Evaluated) -> float | None:
        if trial.number in (1, 2, 4):
            raise TrialFailed("内存不足")
        return value_of(trial)

    trials = run(tmp_path / "study.db", config(failures=3), failing)
    assert [trial.state for trial in trials.all] == ["complete", "failed", "failed", "complete", "failed", "complete"]
    assert {trial.reason for trial in trials.all if trial.state == "failed"} == {"内存不足"}
    with pytest.raises(GateError) as caught:
        run(tmp_path / "other.db", config(failures=2), failing)
    assert (caught.value.where, caught.value.given) == ("trial 2", "内存不足")
    assert [t.state for t in run(tmp_path / "other.db", config(failures=2), failing).all][3:] == [
        "complete",
        "failed",
        "complete",
    ]


def test_a_value_that_is_none_or_not_a_number_fails_the_trial(tmp_path: Path) -> None:
    values = iter([None, float("nan"), 1.0])
    trials = run(tmp_path / "study.db", config(trials=3), lambda trial, evaluated: next(values))
    assert [trial.state for trial in trials.all] == ["failed", "failed", "complete"]


def test_the_time_of_trials_can_be_limited(tmp_path: Path) -> None:
    assert len(run(tmp_path / "study.db", config(seconds=1e-9)).all) == 1


def test_a_damaged_record_is_told_in_four_parts(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_bytes("不是数据库 not a database".encode() * 100)
    with pytest.raises(CorruptError) as caught, open_study(path, SPACE, higher_is_better=True):
        pass
    assert caught.value.where == str(path)
    assert all((caught.value.problem, caught.value.given, caught.value.allowed, caught.value.hint))


def test_another_program_can_read_the_file(tmp_path: Path) -> None:
    run(tmp_path / "study.db", config())
    with sqlite3.connect(tmp_path / "study.db") as connection:
        assert connection.execute("select count(*) from trials where state = 'COMPLETE'").fetchone() == (6,)
    connection.close()


def test_importance_tells_what_matters_from_what_does_not(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", SPACE, higher_is_better=True) as study:
        assert study.importance() == {}
        search(config(trials=16), SPACE, measured, study)
        shares = study.importance()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert max(shares, key=lambda path: shares[path]) == "layers"
    assert shares["train.lr"] < 0.2


def test_without_the_extra_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError) as caught:
        load_optuna()
    assert caught.value.hint == "pip install 'tunewright[search]'"
