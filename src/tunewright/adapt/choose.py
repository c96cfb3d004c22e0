"""Choose the task and its columns from what a sample of the data shows, each choice with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunewright import extensions
from tunewright.config.base import AUTO, Extension, config_of
from tunewright.errors import InputError
from tunewright.types import Choice, ColumnProfile, Recognition

FAMILY = "adapt.task"


def choose_task(
    asked: Extension, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
) -> tuple[Any, tuple[Choice, ...]]:
    """The task (unbound) and what was decided. ``columns`` are those that the recipe names.

    Raises InputError when no task recognises the data.
    """
    if asked.name != AUTO:
        task = extensions.load(FAMILY, asked.name)(asked.config)
        return _tuned(task, profiles, columns or _columns(task.recognise(profiles)))
    candidates = [(name, extensions.load(FAMILY, name)(config_of(FAMILY, name)())) for name in extensions.names(FAMILY)]
    recognised = [(name, task, task.recognise(profiles)) for name, task in candidates]
    fitting = [(name, task, found) for name, task, found in recognised if found is not None or columns]
    if not fitting:
        raise InputError(
            "no task fits these columns",
            where="data.columns",
            given=", ".join(profile.name for profile in profiles),
            allowed="texts and labels to classify; messages, or prompt and completion, to chat; chosen and rejected to "
            "prefer; source and target to generate; texts and spans, or words and tags, to tag; texts alone to go on with "
            "pretraining",
            hint="data.columns.text=COLUMN data.columns.label=COLUMN",
        )
    name, task, found = max(fitting, key=lambda each: each[2].confidence if each[2] else 0.0)
    tuned, chosen = _tuned(task, profiles, columns or _columns(found))
    reason = (found.reasons.get("label") or next(iter(found.reasons.values()), "")) if found else "as the columns say"
    return tuned, (Choice("task.name", name, reason), *chosen)


def _tuned(task: Any, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]) -> tuple[Any, tuple[Choice, ...]]:
    tuned, chosen = task.tuned_to(profiles, columns)
    return tuned, tuple(chosen)


def _columns(found: Recognition | None) -> Mapping[str, str]:
    return found.columns if found is not None else {}
