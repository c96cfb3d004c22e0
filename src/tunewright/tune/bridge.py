"""The one place that loads optuna, an extra of the installation, and says in its terms what a space and a trial are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tunewright.errors import InputError
from tunewright.types import Range, Space, Trial, Trials, Value

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STATES = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


def load_optuna() -> Any:
    """The library, silenced. Raises InputError that names what to install."""
    try:
        import optuna
        import sqlalchemy  # noqa: F401 - optuna keeps its tables with it
    except ImportError as error:
        raise InputError(
            "a search needs libraries that are not installed",
            where="tunewright tune",
            given=f"no module {error.name}",
            allowed="an installation with the extra `search`",
            hint="pip install 'tunewright[search]'",
        ) from None
    optuna.logging.disable_default_handler()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in optuna's terms."""
    optuna = load_optuna()

    def one(declared: Range | tuple[Value, ...]) -> Any:
        if isinstance(declared, tuple):
            return optuna.distributions.CategoricalDistribution(declared)
        if declared.whole:
            low, high, step = int(declared.low), int(declared.high), int(declared.step or 1)
            return optuna.distributions.IntDistribution(low, high, log=declared.log, step=step)
        return optuna.distributions.FloatDistribution(
            float(declared.low), float(declared.high), log=declared.log, step=declared.step
        )

    return {path: one(declared) for path, declared in space.items()}


def sample(sampler: BaseSampler, space: Space, ended: Trials) -> dict[str, Value]:
    """The point that a sampler proposes after the trials that have ended, in a study made anew from the record.

    A failed trial counts as the worst that was seen, so that a sampler which learns keeps away from where trials fail.
    """
    optuna = load_optuna()
    study: Study = optuna.create_study(direction=direction(ended.higher_is_better), sampler=sampler)
    spread = distributions(space)
    values = [trial.value for trial in ended.ended if trial.value is not None]
    for trial in ended.ended:
        if trial.state == "failed" and values:
            worst = min(values) if ended.higher_is_better else max(values)
            trial = replace(trial, state="complete", value=worst, validations={})  # noqa: PLW2901
        study.add_trial(frozen(trial, spread))
    return cast("dict[str, Value]", study.ask(spread).params)


def seed_of(seed: int, ended: Trials) -> int:
    """The seed of one question: another for every trial, the same whenever the same trial is asked for."""
    import numpy as np

    return int(np.random.SeedSequence([seed, len(ended.ended)]).generate_state(1)[0])


def direction(higher_is_better: bool) -> str:
    """The direction of a study."""
    return "maximize" if higher_is_better else "minimize"


def frozen(trial: Trial, spread: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial as optuna holds it; ``spread`` is its space in optuna's terms."""
    optuna = load_optuna()
    state = optuna.trial.TrialState[STATES[trial.state]]
    found: FrozenTrial = optuna.trial.create_trial(
        state=state,
        value=trial.value,
        params=dict(trial.parameters),
        distributions=dict(spread),
        intermediate_values=dict(trial.validations),
    )
    return found


class Pruning:
    """Whether the running trial goes on, judged by optuna's pruner over what the trials before it went through.

    The pruner's own notes are made anew from the record each time, so that a killed search decides as it would have.
    """

    def __init__(self, pruner: BasePruner, ended: Trials) -> None:
        """Replay the trials that have ended."""
        optuna = load_optuna()
        sampler = optuna.samplers.RandomSampler(0)  # never asked for a parameter
        self._study = optuna.create_study(direction=direction(ended.higher_is_better), sampler=sampler, pruner=pruner)
        for trial in ended.ended:
            self._live = self._study.ask()
            for number, value in trial.validations.items():
                self.stops(number, value)
            state = optuna.trial.TrialState[STATES[trial.state]]
            self._study.tell(self._live, trial.value if trial.state == "complete" else None, state)
        self._live = self._study.ask()

    def stops(self, number: int, value: float) -> bool:
        """Whether the running trial is stopped after its evaluation ``number``."""
        self._live.report(value, number)
        return bool(self._live.should_prune())
