"""From files to a Dataset: look, settle the columns, read, account for every row, split, check, commit.

Rows are read twice and copied once on disk; in memory there are some fifty bytes to a row, whatever the texts' length.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from tunewright.config.base import ComponentConfig, Option
from tunewright.data.columns import map_columns
from tunewright.data.filling import FEWEST_ROWS, Filling
from tunewright.data.inputs import Inputs, look
from tunewright.data.record import FORMAT, from_facts, to_facts
from tunewright.errors import CorruptError
from tunewright.seams import Task
from tunewright.store.artifact import commit_artifact, open_artifact
from tunewright.store.digest import digest_code, digest_json, sha256_file
from tunewright.types import Choice, Dataset, Tell, tell_nobody


class Prepare:
    """The stage ``data``: its options."""

    class Config(ComponentConfig):
        """The options of ``data``; a bare value is the path."""

        shorthand: ClassVar[str] = "path"

        path: str | list[str] | None = Option(
            None, "The file with the rows, a list of files, or asset:NAME.", examples=["reviews.csv"]
        )
        validation_path: str | list[str] | None = Option(
            None, "Your own validation rows; else some are set aside.", examples=["validation.csv"]
        )
        test_path: str | list[str] | None = Option(
            None, "Your own test rows; else some are set aside.", examples=["test.csv"]
        )
        format: str | dict[str, Any] = Option(
            "auto", "A format, or `{name: csv, delimiter: ';'}`; recognised when `auto`."
        )
        columns: dict[str, str | int] = Option(
            {},
            "Field -> column name or number, such as `{text: review, label: stars}`.",
            examples=[{"text": "review", "label": "stars"}],
        )
        clean: list[str | dict[str, Any]] = Option(
            [], "Cleaners for the texts, in order, such as `[html, width]`.", examples=[["html", "width"]]
        )
        validation: float = Option(0.1, "Share of the rows for validation, where you gave none.", ge=0, lt=0.9)
        test: float = Option(0.2, "Share of the rows for the verdict, where you gave none.", ge=0, lt=0.9)
        split: str | None = Option(
            None, "Column that says train, validation or test; found by its name when not given.", examples=["split"]
        )
        group: str | None = Option(
            None, "Column whose values never cross splits, such as an author or a dialogue.", examples=["author"]
        )
        max_row_bytes: int = Option(1 << 20, "A row with more bytes is rejected.", ge=64)
        max_rejected: float = Option(
            0.01, "Largest share of rejected rows; 10 rows are allowed unless it is 0.", ge=0, le=1
        )
        min_rows: int = Option(10, "Fewest rows, duplicates apart, that are worth going on with.", ge=FEWEST_ROWS)
        allow: list[str] = Option(
            [], "Findings that stop the run, by their code, which shall not stop it.", examples=[["label_not_trained"]]
        )
        seed: int = Option(0, "Decides which rows go to which split.", ge=0)

        @model_validator(mode="after")
        def _leave_rows_to_train(self) -> Self:
            if self.validation + self.test >= 0.95:
                parts = {"allowed": "less than 0.95 together", "hint": "data.validation=0.1 data.test=0.2"}
                raise PydanticCustomError("explained", "validation and test must leave rows for training", parts)
            return self


def prepare(
    config: Prepare.Config,
    task: Task,
    target: Path,
    *,
    rows: object = None,
    inputs: Inputs | None = None,
    tell: Tell = tell_nobody,
) -> Dataset:
    """The Dataset of these files (or of ``rows``: dicts, a data frame, an Arrow table) for this task, in ``target``.

    ``inputs`` are these files or rows where they have been looked at before; they must not have changed since. A target
    that already holds the Dataset is returned as it is. Raises InputError for what cannot be found or parsed and for columns
    that are not clear, GateError when too many rows are rejected or too few are left. Then nothing is written.
    """
    inputs = inputs or look(config, rows, tell)
    key = dataset_key(config, task, inputs)
    standing = _standing(target, key)
    if standing is not None:
        return standing
    mapped = map_columns(config.columns, config.split, config.group, task, inputs)
    filling = Filling(config, task, inputs, mapped, tell)
    commit_artifact(target, key, filling.fill, lambda: to_facts(filling.dataset(target, key)))
    return open_dataset(target)


def dataset_key(config: Prepare.Config, task: Task, inputs: Inputs) -> str:
    """The SHA-256 of all that goes into the Dataset: options, content of the inputs, the task, and the code."""
    return digest_json(
        {
            "format": FORMAT,
            "config": config.model_dump(mode="json"),
            "inputs": [[entry.name, entry.split, entry.sha256] for entry in inputs.entries],
            "task": _task_identity(task),
            "code": digest_code("tunewright.data", "tunewright.types"),
        }
    )


def account(dataset: Dataset) -> Choice:
    """What became of the rows, in one line."""
    ledger, splits = dataset.ledger, dataset.splits
    left_out = [("repeats", ledger.duplicate), ("rejected", ledger.rejected)]
    without = "".join(f", {number:,} {name}" for name, number in left_out if number)
    parts = ", ".join(f"{name} {number:,}" for name, number in splits.items())
    return Choice("data.rows", f"{sum(splits.values()):,}", f"of {ledger.total:,} rows{without}; {parts}")


def open_dataset(folder: Path, verify: bool = False) -> Dataset:
    """The Dataset that ``prepare`` put into ``folder``; every byte is checked with ``verify``. Raises CorruptError."""
    artifact = open_artifact(folder, verify=verify)
    if artifact is None or artifact.facts.get("format") != FORMAT:
        raise CorruptError("no prepared data lie here", where=str(folder), hint="run the command again to prepare them")
    return from_facts(folder, artifact.facts)


def _standing(target: Path, key: str) -> Dataset | None:
    try:
        artifact = open_artifact(target, key)
    except CorruptError:
        return None
    return None if artifact is None else from_facts(target, artifact.facts)


def _task_identity(task: Task) -> Mapping[str, object]:
    """The task's class, its code, and those of its options (in ``config``, where it has one) that rows depend on."""
    kind = type(task)
    options = getattr(task, "config", None)
    try:
        code = digest_code(kind.__module__)
    except (ImportError, ValueError):  # a class of a notebook has no file
        code = ""
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "code": code,
        "options": options.of_rows() if isinstance(options, ComponentConfig) else None,
        "fields": [[field.name, field.kind, field.required] for field in (*task.fields, *task.stored)],
    }


def content_digest(dataset: Dataset) -> str:
    """The digest of the rows themselves, split by split, whatever options led to them."""
    return digest_json([[split, sha256_file(dataset.folder / f"{split}.arrow")] for split in sorted(dataset.splits)])
