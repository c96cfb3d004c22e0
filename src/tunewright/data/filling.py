"""The filling of a Dataset's folder: read every row into a spool, judge, split, check, write the tables."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.data.account import Account
from tunewright.data.checks import (
    check_duplicates,
    check_groups,
    check_labels,
    check_lengths,
    check_near,
    check_rejected,
)
from tunewright.data.clean.base import Chain, build_chain
from tunewright.data.columns import Mapped
from tunewright.data.duplicates import Duplicates, find_duplicates, normalise
from tunewright.data.facts import MAX_SCRIPT_ROWS, ScriptCount, build_facts
from tunewright.data.inputs import Input, Inputs
from tunewright.data.near import MAX_ROWS, find_near_pairs
from tunewright.data.profile import as_list, column_value
from tunewright.data.source.base import Unusable
from tunewright.data.splits import OPEN, TEST, TRAIN, VALIDATION, Shares, assign_splits, read_split
from tunewright.data.tables import LEDGER, SPOOL, RowWriter, batches, write_ledger, write_splits
from tunewright.errors import GateError, InputError
from tunewright.seams import Task
from tunewright.store.artifact import Draft
from tunewright.types import SPLITS, Choice, Dataset, Finding, Ledger, SourceFile, Tell
from tunewright.words import counted

_TELL_EVERY = 5_000
_LEAST_ALLOWED = 10
FEWEST_ROWS = 2
"""The least that ``data.min_rows`` may be."""


class Filling:
    """One preparation: ``fill`` writes the tables into a draft, ``dataset`` then describes what was written."""

    def __init__(
        self,
        config: Any,
        task: Task,
        inputs: Inputs,
        mapped: Mapped,
        tell: Tell,
    ) -> None:
        """Hold what was settled; nothing is read yet. Raises InputError for a cleaner that does not exist."""
        self._config, self._task, self._mapped, self._tell = config, task, mapped, tell
        self._inputs = inputs.entries
        lists = {profile.name for profile in inputs.profiles if profile.is_list}
        texts = build_chain(config.clean)
        chains = {"text": texts, "messages": texts, "label": build_chain(())}
        self._plan = [
            (field.name, column, chains.get(field.kind, Chain(())), field.kind == "label" and column in lists)
            for field in task.fields
            if (column := mapped.columns.get(field.name))
        ]
        self._untrained = {label for field in task.stored for label in field.labels}
        self._labels = [field.name for field in task.stored if field.kind == "label"]
        self._account = Account()
        self._made: dict[str, Any] = {}

    def fill(self, draft: Draft) -> None:
        """Write one Arrow file per split and the ledger. Raises InputError and GateError; the draft is then dropped."""
        self._account = account = Account()
        spool = draft.path(SPOOL)
        files = self._read(spool)
        self._refuse_many_rejected()
        self._refuse_one_class()
        user = np.asarray(account.split, np.int8)
        duplicates = find_duplicates(account.text, account.answer, np.maximum(user, TRAIN).tolist())
        self._refuse_few(int(duplicates.kept.sum()))
        split = self._split(user, duplicates)
        write_splits(spool, {code: draft.path(f"{name}.arrow") for code, name in enumerate(SPLITS)}, split)
        write_ledger(draft.path(LEDGER), account, duplicates)
        scripts, near = self._look_again(spool, split)
        spool.unlink()
        for entry in self._inputs:
            entry.verify_unchanged()
        self._describe(files, split, duplicates, scripts, near)

    def dataset(self, folder: Path, fingerprint: str) -> Dataset:
        """The record of what ``fill`` wrote."""
        return Dataset(folder=folder, columns=self._mapped.columns, fingerprint=fingerprint, **self._made)

    # ------------------------------------------------------------------------------------------------------ reading

    def _read(self, spool: Path) -> list[SourceFile]:
        account, files = self._account, []
        total = sum(entry.num_rows for entry in self._inputs)
        with RowWriter(spool, self._task.stored, with_units=bool(self._mapped.group)) as writer:
            for entry in self._inputs:
                before = account.total
                file = account.files.number(entry.name)
                for record in entry.rows.records():
                    if isinstance(record, Unusable):
                        account.reject(account.total, file, record.origin.line, record.reason)
                    else:
                        try:
                            self._take(entry, record.fields, record.origin.line, file, writer)
                        except ValueError as problem:
                            account.reject(account.total, file, record.origin.line, str(problem) or "unusable")
                    account.total += 1
                    if account.total % _TELL_EVERY == 0:
                        self._tell("read", account.total, total, entry.name)
                files.append(entry.rows.describe(account.total - before))
        self._tell("read", account.total, total, "")
        return files

    def _take(self, entry: Input, given: Mapping[str, object], line: int, file: int, writer: RowWriter) -> None:
        """Clean, read and enter one row; ValueError rejects it."""
        account, task = self._account, self._task
        fields = task.read({name: _cleaned(given, column, chain, listed) for name, column, chain, listed in self._plan})
        split = entry.split
        if self._mapped.split and split == OPEN:
            named = read_split(column_value(given, self._mapped.split))
            if named is None:
                raise ValueError("its split is neither train, validation nor test")
            split = OPEN if named == TRAIN else named
        group = None
        if self._mapped.group:
            value = column_value(given, self._mapped.group)
            group = None if value is None or value == "" else str(value)
        group = task.unit(fields) if group is None else group
        text = task.identity(fields)
        text.encode()
        labels = [_in_order(fields[name]) for name in self._labels]
        proof = account.prove(text, labels, task.stratum(fields), group)
        length = len(text)
        account.keep(account.total, file, line, proof, length, split)
        writer.add((account.total, entry.name, line, proof[-1]), fields, length)

    # -------------------------------------------------------------------------------------------------------- gates

    def _refuse_many_rejected(self) -> None:
        account, limit = self._account, self._config.max_rejected
        num = len(account.rejected_id)
        allowed = max(_LEAST_ALLOWED, math.floor(limit * account.total)) if limit else 0
        if num <= allowed and len(account.id):
            return
        needed = min(1.0, math.ceil(num / account.total * 1000) / 1000)
        listed = "\n".join(f"    {entry}" for entry in account.rejections(5))
        raise GateError(
            f"{num:,} of {account.total:,} rows cannot be used:\n{listed}",
            where=self._inputs[0].name,
            given=f"{num / account.total:.1%} rejected",
            allowed=f"{limit:.1%} of the rows (data.max_rejected), here {allowed:,}",
            hint=f"mend these rows, or go on without them: data.max_rejected={needed:g}"
            if len(account.id)
            else "name the right columns: data.columns='{text: COLUMN, label: COLUMN}'",
        )

    def _refuse_one_class(self) -> None:
        labelled = [field for field in self._task.stored if field.kind == "label" and field.required]
        answers = self._account.answers.values()
        if labelled and len(answers) < 2:
            raise InputError(
                "every row has the same label, so there is nothing to learn",
                where=self._inputs[0].name,
                given=", ".join(_labels(answers[0])) if answers else None,
                allowed="rows of two labels or more",
                hint=f"name the column that holds the labels: data.columns='{{{labelled[0].name}: COLUMN}}'",
            )

    def _refuse_few(self, num_kept: int) -> None:
        if num_kept < self._config.min_rows:
            goes_on = f", or go on with these: data.min_rows={num_kept}" if num_kept >= FEWEST_ROWS else ""
            raise GateError(
                "too few rows are left, duplicates apart",
                where=self._inputs[0].name,
                given=counted(num_kept, "row"),
                allowed=f"{self._config.min_rows} rows or more (data.min_rows)",
                hint=f"collect more rows{goes_on}",
            )

    # ----------------------------------------------------------------------------------------------------- splitting

    def _split(self, user: np.ndarray[tuple[int], np.dtype[np.int8]], duplicates: Duplicates) -> Any:
        """The split of each row of the account; -1 for the copies that are left out."""
        account, kept = self._account, duplicates.kept
        shares = Shares(
            validation=0.0 if (user == VALIDATION).any() else self._config.validation,
            test=0.0 if (user == TEST).any() else self._config.test,
        )
        split = np.full(len(user), OPEN, np.int8)
        split[kept] = assign_splits(
            np.asarray(account.text, np.uint64)[kept],
            np.asarray(account.group, np.uint64)[kept],
            np.asarray(account.stratum, np.int64)[kept],
            user[kept],
            shares,
            self._config.seed,
        )
        return split

    def _look_again(self, spool: Path, split: Any) -> tuple[ScriptCount, list[Finding]]:
        """Scripts over a spread of the kept rows, and near duplicates where the rows are few enough to compare."""
        import pyarrow as pa

        scripts, start = ScriptCount(), 0
        texts: list[str] = []
        rows: list[int] = []
        kept = np.flatnonzero(split != OPEN)
        compares = len(kept) <= MAX_ROWS
        chosen = kept[:: max(1, len(kept) // MAX_SCRIPT_ROWS)]
        for batch in batches(spool):
            inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)]
            found = batch.take(pa.array(inside - start)).to_pylist()
            identities = [self._task.identity(row) for row in found]
            scripts.add(identities)
            if compares:
                texts.extend(map(normalise, identities))
            rows.extend(inside.tolist())
            start += batch.num_rows
        if not compares:
            message = f"near duplicates were not looked for: more than {MAX_ROWS:,} rows"
            return scripts, [Finding("near_duplicates_skipped", "note", message)]
        self._tell("compare", len(texts), len(texts), "near duplicates")
        return scripts, check_near(self._account, rows, find_near_pairs(texts), split)

    # ------------------------------------------------------------------------------------------------------- record

    def _describe(
        self, files: list[SourceFile], split: Any, duplicates: Duplicates, scripts: ScriptCount, near: list[Finding]
    ) -> None:
        account = self._account
        counts = {name: self._count_labels(split == code) for code, name in enumerate(SPLITS)}
        num_kept, num_rejected = int(duplicates.kept.sum()), len(account.rejected_id)
        self._made = {
            "splits": {name: int((split == code).sum()) for code, name in enumerate(SPLITS)},
            "labels": tuple(sorted({label for split_counts in counts.values() for label in split_counts})),
            "label_counts": counts,
            "ledger": Ledger(
                used=num_kept,
                truncated=0,
                duplicate=len(account.id) - num_kept,
                rejected=num_rejected,
                total=account.total,
                reasons=account.reason_counts(),
            ),
            "findings": (
                *(check_labels(counts, self._untrained) if any(counts.values()) else ()),
                *check_duplicates(account, duplicates),
                *(check_groups(account, split) if self._mapped.group else ()),
                *check_rejected(account),
                *check_lengths(account),
                *near,
            ),
            "facts": build_facts(np.asarray(account.length, np.int64)[duplicates.kept], scripts),
            "files": tuple(files),
            "choices": (*self._read_choices(files), *self._mapped.choices, *self._split_choices()),
        }

    def _count_labels(self, chosen: Any) -> dict[str, int]:
        numbers = np.bincount(np.asarray(self._account.answer, np.int64)[chosen])
        counts: Counter[str] = Counter()
        for answer, number in zip(self._account.answers.values(), numbers.tolist(), strict=False):
            if number:
                counts.update(dict.fromkeys(_labels(answer), number))
        return dict(sorted(counts.items()))

    def _read_choices(self, files: Sequence[SourceFile]) -> Iterator[Choice]:
        for file in files:
            if self._config.format == "auto" and file.encoding != "memory":
                reason = "; ".join((f"encoding: {file.encoding}", *file.notes))
                yield Choice("data.format", file.format, f"{file.path}: {reason}")

    def _split_choices(self) -> Iterator[Choice]:
        user = set(self._account.split)
        whole = "stratified; decided by content and seed, not by the order of rows"
        for code, name in ((VALIDATION, "validation"), (TEST, "test")):
            if code in user:
                yield Choice(f"data.{name}", "yours", "you gave these rows")
            else:
                yield Choice(f"data.{name}", getattr(self._config, name), whole)


def _cleaned(given: Mapping[str, object], column: str, chain: Chain, listed: bool) -> object:
    value = column_value(given, column)
    if listed:
        found = as_list(value)
        if found is not None:
            return [chain.apply(entry) if isinstance(entry, str) else entry for entry in found]
    return chain.apply_within(value)


def _in_order(value: object) -> object:
    """A list of labels sorted, so that the same set is the same answer."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _labels(answer: str) -> list[str]:
    """The labels in an answer as the account keeps it: all label fields, one list after the other."""
    return [label for field in json.loads(answer) for label in (field if isinstance(field, list) else [field])]
