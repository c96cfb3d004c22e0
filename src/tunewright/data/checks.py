"""What is worth saying about the data before a model sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from tunewright.data.account import Account
from tunewright.data.duplicates import Duplicates
from tunewright.errors import nearest
from tunewright.types import Finding
from tunewright.words import counted

_IMBALANCE = 10
_TINY = 3


def check_labels(counts: Mapping[str, Mapping[str, int]], untrained: Collection[str] = ()) -> list[Finding]:
    """Findings about labels from split -> label -> rows: absent from training, too rare, out of balance.

    ``untrained`` are those that the task has by itself: they need no training row, but none at all looks like a slip.
    """
    found: list[Finding] = []
    totals: dict[str, int] = {}
    for split in counts.values():
        for label, count in split.items():
            totals[label] = totals.get(label, 0) + count
    for label in sorted(set(untrained) - totals.keys()):
        close = nearest(label, totals)
        meant = f"; did you mean {close}?" if close else ""
        message = f"{label}: named by the task, but in no row, so it cannot be judged{meant}"
        found.append(Finding("label_without_rows", "warning", message))
    unseen = sorted(label for label in totals if not counts["train"].get(label) and label not in untrained)
    if unseen:
        message = f"{_some(unseen)}: held out for judging, but in no training row, so it cannot be learnt"
        found.append(Finding("label_not_trained", "violation", message))
    tiny = sorted(label for label, count in totals.items() if count < _TINY and label not in unseen)
    if tiny:
        message = f"{counted(len(tiny), 'label has', 'labels have')} fewer than {_TINY} rows and cannot be judged: {_some(tiny)}"
        found.append(Finding("tiny_class", "warning", message))
    if len(totals) > 1:
        most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
        if totals[most] > _IMBALANCE * totals[least]:
            message = f"{most} has {counted(totals[most], 'row')}, {least} has {totals[least]:,}; accuracy alone would mislead"
            found.append(Finding("imbalance", "note" if totals[most] <= 20 * totals[least] else "warning", message))
    return found


def check_duplicates(account: Account, duplicates: Duplicates) -> list[Finding]:
    """Findings about copies: how many, with conflicting labels, and across the user's own splits."""
    found: list[Finding] = []
    copies = np.flatnonzero(~duplicates.kept)
    if len(copies):
        message = (
            f"{counted(len(copies), 'row repeats', 'rows repeat')} an earlier text "
            f"(case, width, blanks and punctuation apart) and {'is' if len(copies) == 1 else 'are'} left out"
        )
        found.append(Finding("duplicates", "note", message, _origins(account, copies)))
    if duplicates.num_conflicts:
        message = (
            f"{counted(duplicates.num_conflicts, 'text comes', 'texts come')} with different labels; "
            "the commonest label was kept, or the first"
        )
        found.append(Finding("label_conflict", "warning", message, _origins(account, duplicates.conflicts)))
    leaked = np.flatnonzero(duplicates.leaked)
    if len(leaked):
        rows = counted(len(leaked), "row was", "rows were")
        message = f"{rows} in the held-out rows as well; the copies were taken out of training"
        found.append(Finding("leak", "warning", message, _origins(account, leaked)))
    return found


def check_groups(account: Account, split: Sequence[int]) -> list[Finding]:
    """A warning when the user's own splits part a group, which no assignment here can mend."""
    groups = np.asarray(account.group, np.uint64)
    codes = np.asarray(split, np.int8)
    parted = np.intersect1d(groups[codes == 0], groups[codes > 0])
    if not len(parted):
        return []
    message = f"{counted(len(parted), 'group lies', 'groups lie')} in training and in held-out rows; the score may be flattered"
    return [Finding("group_leak", "warning", message, _origins(account, np.flatnonzero(np.isin(groups, parted))))]


def check_rejected(account: Account) -> list[Finding]:
    """A finding when rows were rejected, a warning when it is one in two hundred or more."""
    num = len(account.rejected_id)
    if not num:
        return []
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in list(account.reason_counts().items())[:3])
    severity: Literal["note", "warning"] = "warning" if num * 200 >= account.total else "note"
    origins = tuple(entry.partition(": ")[0] for entry in account.rejections(5))
    return [Finding("rejected", severity, f"{num:,} of {account.total:,} rows cannot be used: {reasons}", origins)]


def check_lengths(account: Account) -> list[Finding]:
    """A warning when many texts end at exactly the same greatest length, as a limit on the way here would make them."""
    lengths = np.asarray(account.length, np.int64)
    if len(lengths) < 20:
        return []
    longest = int(lengths.max())
    at_limit = np.flatnonzero(lengths == longest)
    below = int(((lengths >= longest * 0.9) & (lengths < longest)).sum())
    usual = below / (longest * 0.1)
    if longest < 50 or not below or len(at_limit) < max(5, len(lengths) // 200, 5 * usual):
        return []
    texts = counted(len(at_limit), "text has", "texts have")
    message = f"{texts} exactly {longest} characters, the greatest length: they look cut off"
    return [Finding("cut_texts", "warning", message, _origins(account, at_limit))]


def check_near(
    account: Account, rows: Sequence[int], pairs: Sequence[tuple[int, int]], split: Sequence[int]
) -> list[Finding]:
    """Findings about near duplicates; pairs are positions in ``rows``, which index the account; split[N] is by account."""
    if not pairs:
        return []
    crossing = [(a, b) for a, b in pairs if split[rows[a]] != split[rows[b]]]
    involved = sorted({rows[at] for pair in pairs for at in pair})
    message = (
        f"{counted(len(pairs), 'pair of texts is', 'pairs of texts are')} nearly the same ({len(involved):,} rows)"
    )
    found = [Finding("near_duplicates", "note", message, _origins(account, involved))]
    if crossing:
        touched = sorted({rows[at] for pair in crossing for at in pair})
        crossed = counted(len(crossing), "nearly equal pair lies", "nearly equal pairs lie")
        message = f"{crossed} in different splits; the score may be flattered"
        found.append(Finding("near_leak", "warning", message, _origins(account, touched)))
    return found


def _origins(
    account: Account, rows: Sequence[int] | np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> tuple[str, ...]:
    return tuple(account.origin(int(row)) for row in rows[:5])


def _some(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
