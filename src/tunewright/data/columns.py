"""Which column fills which field of the task: told by the user, or recognised by the task with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunewright.data.inputs import Input, Inputs
from tunewright.data.splits import TRAIN, read_split
from tunewright.errors import InputError, nearest
from tunewright.seams import Task
from tunewright.types import Choice, ColumnProfile, Recognition

SURE = 0.6
"""A recognition with less confidence is put to the user instead of acted on."""

_SPLIT_NAMES = frozenset(
    ("split", "set", "subset", "fold", "partition", "dataset", "集合", "划分", "数据集", "数据划分")
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Field -> column, the columns with splits and groups (empty when there is none), and what was decided for the user."""

    columns: Mapping[str, str]
    split: str
    group: str
    choices: tuple[Choice, ...]


def map_columns(
    given: Mapping[str, str | int],
    split: str | None,
    group: str | None,
    task: Task,
    looked: Inputs,
) -> Mapped:
    """Settle every column before a row is read.

    Raises InputError naming the nearest column for one that does not exist, and listing the columns with the reasons of
    the best guess where the task is not sure.
    """
    profiles, inputs = looked.profiles, looked.entries
    where, names = inputs[0].name, tuple(dict.fromkeys((*(p.name for p in profiles), *inputs[0].columns)))
    fields = {field.name: field for field in task.fields}
    for name in given:
        if name not in fields:
            raise _unknown_field(name, tuple(fields))
    told = {name: _existing(value, names, where, f"data.columns.{name}") for name, value in given.items()}
    split_column, split_choice = _split_column(split, profiles, names, where)
    group_column = _existing(group, names, where, "data.group") if group else ""
    columns, choices = dict(told), list(split_choice)
    missing = [name for name, field in fields.items() if field.required and name not in told]
    if missing:
        taken = {split_column, group_column}
        recognition = task.recognise([profile for profile in profiles if profile.name not in taken])
        optional = [name for name in fields if name not in (*missing, *told)]
        found = _recognised(recognition, missing, optional, told, names, where)
        columns |= found
        assert recognition is not None
        choices += [
            Choice(
                f"data.columns.{name}",
                columns[name],
                f"{recognition.reasons.get(name, '')} ({recognition.confidence:.0%} sure)",
            )
            for name in found
        ]
    for name in [name for name in columns if name not in told and not fields[name].required]:
        if any(columns[name] not in entry.columns for entry in inputs):  # nobody asked for it, and not all have it
            del columns[name]
    choices = [each for each in choices if each.path.removeprefix("data.columns.") in columns or each in split_choice]
    _require_everywhere(columns, [name for name in (split_column, group_column) if name], inputs)
    return Mapped(columns, split_column, group_column, tuple(choices))


def _recognised(
    recognition: Recognition | None,
    missing: Sequence[str],
    optional: Sequence[str],
    told: Mapping[str, str],
    names: Sequence[str],
    where: str,
) -> dict[str, str]:
    typed = "data.columns='{" + ", ".join(f"{name}: COLUMN" for name in missing) + "}'"
    if recognition is None or any(name not in recognition.columns for name in missing):
        raise InputError(
            f"no column was recognised as {' and '.join(missing)}",
            where=where,
            given=f"columns {', '.join(names)}",
            allowed="one column with texts and one with labels",
            hint=typed,
        )
    found = {name: recognition.columns[name] for name in missing}
    clash = set(found.values()) & set(told.values())
    if recognition.confidence < SURE or clash:
        guess = "; ".join(
            f"{name} may be {column}: {recognition.reasons.get(name, '')}" for name, column in found.items()
        )
        best = ", ".join(f"{name}: {column}" for name, column in {**told, **found}.items())
        raise InputError(
            f"it is not clear which column is {' and which is '.join(missing)}",
            where=where,
            given=guess,
            allowed=f"columns {', '.join(names)}",
            hint="data.columns='{" + best + "}'" if not clash else typed,
        )
    taken = {*found.values(), *told.values()}
    extra = {name: recognition.columns[name] for name in optional if name in recognition.columns}
    return found | {name: column for name, column in extra.items() if column not in taken}


def _existing(value: str | int, names: Sequence[str], where: str, option: str) -> str:
    """The column of this name, or of this 1-based number where no column has it as a name."""
    name = str(value)
    if name in names:
        return name
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return names[int(name) - 1]
    close = nearest(name, names)
    raise InputError(
        "there is no column of this name",
        where=where,
        given=f"{option}={name}",
        allowed=f"columns {', '.join(names)}",
        hint=f"did you mean {option}={close}?" if close else f"{option}=COLUMN",
    )


def _unknown_field(name: str, fields: Sequence[str]) -> InputError:
    close = nearest(name, fields)
    return InputError(
        "the task has no field of this name",
        where="data.columns",
        given=name,
        allowed=", ".join(fields),
        hint=f"did you mean {close}?" if close else "data.columns='{text: COLUMN}'",
    )


def _split_column(
    split: str | None, profiles: Sequence[ColumnProfile], names: Sequence[str], where: str
) -> tuple[str, list[Choice]]:
    if split:
        return _existing(split, names, where, "data.split"), []
    for profile in profiles:
        if profile.name.strip().lower() in _SPLIT_NAMES and profile.num_distinct > 1:
            codes = [read_split(value) for value in profile.counts]
            if None not in codes and TRAIN in codes:
                reason = f"its name, and its values are {', '.join(sorted(profile.counts))}"
                return profile.name, [Choice("data.split", profile.name, reason)]
    return "", []


def _require_everywhere(columns: Mapping[str, str], others: Sequence[str], inputs: Sequence[Input]) -> None:
    for entry in inputs:
        for field, column in (*columns.items(), *(("split or group", other) for other in others)):
            if column not in entry.columns:
                close = nearest(column, entry.columns)
                raise InputError(
                    f"this input has no column {column}, from which {field} is read elsewhere",
                    where=entry.name,
                    given=f"columns {', '.join(entry.columns)}",
                    allowed=f"the columns of {inputs[0].name}: {', '.join(inputs[0].columns)}",
                    hint=f"rename {close} to {column} in {entry.name}" if close else "",
                )
