"""The durable record of a search: optuna's tables in one SQLite file in the search's folder.

What goes to the disk goes through `store/`, and so does this file when it is made: whole, under a private name (half-made
tables lack an index, and a search would be in them twice). From then on it is the one exception: SQLite writes it itself,
and each step of ``Study`` is a transaction that a crash leaves whole or undone (rollback journal, synchronous=FULL).
`store/` owns the path and the lock; a search has one writer.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.errors import CorruptError, MachineError
from tunewright.store.output import writing
from tunewright.tune.bridge import STATES, direction, distributions, frozen, load_optuna
from tunewright.types import Space, Trial, Trials, Value

if TYPE_CHECKING:
    import optuna

NAME = "search"
"""What the study is called in the tables; each file holds one."""


@contextmanager
def open_study(path: Path, space: Space, *, higher_is_better: bool) -> Iterator[Study]:
    """The study in the file at ``path``, which is made if it is not there. Raises InputError, MachineError."""
    library = load_optuna()
    from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

    try:
        if not path.exists():
            with writing(path) as temporary, _storage(temporary, "PRAGMA journal_mode=MEMORY") as storage:
                library.create_study(storage=storage, study_name=NAME, direction=direction(higher_is_better))
        with _storage(path, "PRAGMA synchronous=FULL") as storage:
            sampler = library.samplers.RandomSampler(0)  # never asked: strategies are
            study = library.load_study(storage=storage, study_name=NAME, sampler=sampler)
            yield Study(study, space, higher_is_better=higher_is_better)
    except (SQLAlchemyError, library.exceptions.StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
        is_damaged = isinstance(cause, DatabaseError) and not isinstance(cause, OperationalError)
        raise _failure(path, str(cause or error), is_damaged=is_damaged) from error


@contextmanager
def _storage(path: Path, pragma: str) -> Iterator[optuna.storages.RDBStorage]:
    def connect() -> sqlite3.Connection:  # a path in an address would have to be escaped
        connection = sqlite3.connect(path)
        connection.execute(pragma)
        return connection

    storage = load_optuna().storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _failure(path: Path, given: str, *, is_damaged: bool) -> MachineError:
    parts = {"where": str(path), "given": given.partition("\n")[0], "allowed": "a SQLite file of a search, writable"}
    if is_damaged:
        return CorruptError("the record of the search is damaged", hint="choose another folder with --out", **parts)
    hint = "look at the drive and its free space, then type the same command again; ended trials are kept"
    return MachineError("the record of the search cannot be read or written", hint=hint, **parts)


class Study:
    """The trials on disk. Each method is one step that is done, or not begun, after a crash."""

    def __init__(self, study: optuna.Study, space: Space, *, higher_is_better: bool) -> None:
        """Wrap optuna's study over the tables."""
        self._study = study
        self._space = space
        self.higher_is_better = higher_is_better

    def trials(self) -> Trials:
        """All trials, in order of their number."""
        names = {theirs: ours for ours, theirs in STATES.items()}
        found = [
            Trial(
                number=trial.number,
                parameters=dict(trial.params),
                state=names[trial.state.name],  # type: ignore[arg-type]
                value=trial.value,
                validations=dict(sorted(trial.intermediate_values.items())),
                seconds=float(trial.user_attrs.get("seconds", 0.0)),
                reason=str(trial.user_attrs.get("reason", "")),
            )
            for trial in self._study.get_trials(deepcopy=False)
        ]
        return Trials(tuple(found), self.higher_is_better)

    def begin(self, parameters: Mapping[str, Value]) -> Trial:
        """A running trial with these parameters, all of them written at once."""
        trial = Trial(number=len(self._study.get_trials(deepcopy=False)), parameters=parameters)
        self._study.add_trial(frozen(trial, distributions(self._space)))
        return trial

    def validated(self, trial: Trial, number: int, value: float) -> None:
        """Note the metric after an evaluation of a running trial."""
        self._live(trial).report(value, number)

    def end(self, trial: Trial) -> None:
        """Write down how a trial ended; a second time changes nothing."""
        live = self._live(trial)
        live.set_user_attr("seconds", trial.seconds)
        if trial.reason:
            live.set_user_attr("reason", trial.reason)
        state = load_optuna().trial.TrialState[STATES[trial.state]]
        self._study.tell(trial.number, trial.value if trial.state == "complete" else None, state)

    def importance(self) -> dict[str, float]:
        """How much of the variance of the value each option explains among complete trials, in sum 1.

        Functional ANOVA: Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance". Empty
        where there are fewer complete trials than twice the options, or no variance.
        """
        complete = self.trials().ranked
        varied = {path for path in self._space if len({str(trial.parameters.get(path)) for trial in complete}) > 1}
        if len(complete) < max(4, 2 * len(self._space)) or len({trial.value for trial in complete}) < 2 or not varied:
            return {}
        library = load_optuna()
        evaluator = library.importance.FanovaImportanceEvaluator(seed=0)
        found: Mapping[str, float] = library.importance.get_param_importances(self._study, evaluator=evaluator)
        return {path: float(share) for path, share in found.items() if math.isfinite(share)}

    def _live(self, trial: Trial) -> Any:
        ids = {found.number: found._trial_id for found in self._study.get_trials(deepcopy=False)}
        return load_optuna().trial.Trial(self._study, ids[trial.number])
