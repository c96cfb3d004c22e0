"""The tune stage: ask for a point, measure it, write down what came of it, until there are trials enough.

    strategy.ask(ended trials) ─▶ Trial ─▶ measure ─▶ validations ─▶ complete | pruned | failed ─▶ the next

Every question (which point, whether to stop) is a pure function of what the record holds, so that a search that was killed
goes on as if nothing had happened: a trial found running is measured again under its own parameters, by a ``measure`` that
goes on from its own checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from tunewright import extensions
from tunewright.errors import GateError
from tunewright.seams import Strategy
from tunewright.tune.bridge import Pruning, load_optuna
from tunewright.tune.config import Pruner, Tune
from tunewright.tune.study import Study
from tunewright.types import Space, Tell, Trial, Trials, tell_nobody

Evaluated = Callable[[int, float], bool]
"""``evaluated(number, value)`` after an evaluation counted from 1; True: the trial is to stop, it is pruned."""

Measure = Callable[[Trial, Evaluated], float | None]
"""Train under a trial's parameters and return the best value on the validation rows.

Raises TrialFailed. After it was told to stop, whatever it returns is passed over. Anything else that it raises leaves the
trial as it is, to be taken up again.
"""


class TrialFailed(Exception):
    """A trial cannot be measured under its parameters; the message says why, and the search goes on."""


def search(
    config: Tune.Config,
    space: Space,
    measure: Measure,
    study: Study,
    *,
    ended: Callable[[Trials], None] = lambda _: None,
    tell: Tell = tell_nobody,
) -> Trials:
    """Drive a search to its end, from wherever the study stands; ``ended`` is called at the start and after each trial.

    Raises GateError after too many failed trials in a row, and whatever ``measure`` lets through.
    """
    strategy: Strategy = extensions.load(config.strategy.family, config.strategy.name)(config.strategy.config)
    num_failed = 0
    while True:
        trials = study.trials()
        ended(trials)
        best = f"best {trials.ranked[0].value:.4g}" if trials.ranked else ""
        tell("searching", len(trials.ended), config.trials, best)
        trial = next((each for each in trials.all if each.state == "running"), None)
        trial = trial or _next(config, space, strategy, trials, study)
        if trial is None:
            return trials
        done = _measured(trial, trials, config.pruner, measure, study)
        study.end(done)
        num_failed = num_failed + 1 if done.state == "failed" else 0
        if num_failed >= config.failures:
            ended(study.trials())
            raise GateError(
                f"{num_failed} trials in a row failed",
                where=f"trial {done.number}",
                given=done.reason,
                allowed="trials that can be trained",
                hint="narrow tune.space; the same command then starts a new search, or goes on with this one as it is",
            )


def make_pruner(config: Pruner.Config) -> Any:
    """Optuna's pruner of this name."""
    pruners = load_optuna().pruners
    if config.name == "median":
        return pruners.MedianPruner(n_startup_trials=config.startup, n_warmup_steps=config.warmup + 1)
    if config.name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=config.reduction)
    return pruners.NopPruner()


def _next(config: Tune.Config, space: Space, strategy: Strategy, trials: Trials, study: Study) -> Trial | None:
    """A new trial, unless there are enough, the time is up, or the strategy has none left."""
    is_late = config.seconds is not None and sum(trial.seconds for trial in trials.ended) >= config.seconds
    if len(trials.ended) >= config.trials or is_late:
        return None
    parameters = strategy.ask(space, trials, config.seed)
    return None if parameters is None else study.begin(parameters)


def _measured(trial: Trial, trials: Trials, pruner: Pruner.Config, measure: Measure, study: Study) -> Trial:
    """The trial as it ended; a decision to prune is final, also where a crash came between it and its being written."""
    began = time.monotonic()
    pruning = Pruning(make_pruner(pruner), trials)
    seen: dict[int, float] = {}
    is_pruned = False
    for number, known in trial.validations.items():
        seen[number] = known
        is_pruned = pruning.stops(number, known) or is_pruned

    def evaluated(number: int, value: float) -> bool:
        nonlocal is_pruned
        if number not in seen and math.isfinite(value):
            seen[number] = value
            study.validated(trial, number, value)
            is_pruned = pruning.stops(number, value) or is_pruned
        return is_pruned

    try:
        value = None if is_pruned else measure(trial, evaluated)
        if not is_pruned and (value is None or not math.isfinite(value)):
            raise TrialFailed("the metric has no value on the validation rows")
    except TrialFailed as failure:
        lost = replace(trial, state="failed", validations=seen, reason=str(failure))
        return replace(lost, seconds=time.monotonic() - began)
    last = seen[max(seen)] if is_pruned else value
    state: Literal["pruned", "complete"] = "pruned" if is_pruned else "complete"
    return replace(trial, state=state, value=last, validations=seen, seconds=time.monotonic() - began)
