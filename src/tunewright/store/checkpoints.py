"""The checkpoints of one training: a folder per commit, and a log that says which commits were acknowledged.

    fill ─▶ 000007-3f9a… (an artefact) ─▶ one checksummed line in COMMITS.log ─▶ acknowledged ─▶ prune

Every arrow waits for the drive. A commit's folder is whole as soon as it has its name, so readers take the newest
folder that verifies; the log is the witness: an acknowledged commit that is missing or damaged is told, not skipped
in silence. Order is by commit number, never by names of files or clocks.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tunewright.errors import CorruptError, MachineError
from tunewright.store import durable
from tunewright.store.artifact import Artifact, Draft, commit_artifact, open_artifact, recover_folder
from tunewright.store.document import parse_object, render_line
from tunewright.store.journal import Journal

LOG = "COMMITS.log"

_FOLDER = re.compile(r"(\d{6,})-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A committed state of training: ``number`` counts commits from 1, ``step`` is the last step in it.

    ``metric`` is what was measured at that step, None if nothing was; ``position`` is what the training needs to go on.
    """

    folder: Path
    number: int
    step: int
    digest: str
    metric: float | None
    position: Mapping[str, object]
    keep_best: str
    num_bytes: int


class CheckpointStore:
    """The commits in ``folder``. One writer, under the run's lock; readers need none."""

    def __init__(self, folder: Path, *, identity: str | None = None, keep_last: int = 1) -> None:
        """``identity`` names what is trained (commits of another are not seen; None sees all); nothing is written yet.

        The ``keep_last`` newest commits and the best one are kept.
        """
        self.folder = folder
        self._identity = identity
        self._keep_last = max(1, keep_last)
        self._log = Journal(folder / LOG, lambda line: _parse(line) is not None)
        self._ready = False

    def commit(
        self,
        step: int,
        fill: Callable[[Draft], None],
        position: Mapping[str, object] = MappingProxyType({}),
        metric: float | None = None,
        keep_best: Literal["max", "min"] = "max",
    ) -> Commit:
        """Save a state; when this returns, no crash can lose it. A ``metric`` that is not finite counts as none.

        Raises MachineError when the disk fails: the earlier commits are then all still there. A failure after the
        commit itself (while pruning) is put off to the next commit.
        """
        if not self._ready:
            self.recover()
        number = self._next_number()
        measured = metric if metric is not None and math.isfinite(metric) else None
        facts = {
            "number": number,
            "step": step,
            "position": dict(position),
            "metric": measured,
            "keep_best": keep_best,
        }
        target = self.folder / f"{number:06d}-{secrets.token_hex(4)}"
        commit = _as_commit(commit_artifact(target, self._identity or "", fill, facts))
        self._log.append(_render(commit))
        with suppress(MachineError):
            self._prune()
        return commit

    def latest(self) -> Commit | None:
        """The newest commit that verifies, or None. Raises MachineError when the disk cannot be read."""
        return next(self._verified(self._standing()), None)

    def best(self) -> Commit | None:
        """The commit with the best metric that verifies; the earliest of equals; None if none was measured."""
        measured = [commit for commit in self._standing() if commit.metric is not None]
        return next(self._verified(_by_metric(measured)), None)

    def commits(self) -> tuple[Commit, ...]:
        """The commits kept, oldest first; only lengths are checked."""
        return tuple(self._standing()[::-1])

    def findings(self) -> tuple[str, ...]:
        """Sentences about commits that are damaged, or were acknowledged and are gone; empty when all is well."""
        told = []
        standing = set()
        logged = self._logged()
        for number, path in self._folders():
            try:
                artifact = open_artifact(path)
            except CorruptError as error:
                told.append(f"commit {number} is damaged: {error.problem} ({error.where})")
                continue
            if artifact is None:
                continue
            standing.add(number)
            if not _is_acknowledged(artifact, logged):
                told.append(f"commit {number} is not the one that was acknowledged ({path})")
        newest = max((entry["number"] for entry in logged.values()), default=0)
        if newest > max(standing, default=0):
            told.append(f"commit {newest} was acknowledged, but its folder is gone or damaged")
        return tuple(told)

    def recover(self) -> None:
        """Remove what a crash left unfinished; call it under the run's lock. The first commit does so by itself.

        Raises MachineError.
        """
        recover_folder(self.folder)
        self._ready = True

    # ------------------------------------------------------------------------------------------------------- inside

    def _next_number(self) -> int:
        logged = (entry["number"] for entry in self._logged().values())
        return 1 + max((*logged, *(number for number, _ in self._folders())), default=0)

    def _folders(self) -> list[tuple[int, Path]]:
        """Number and path of every commit's folder, newest first."""
        if not self.folder.is_dir():
            return []
        with durable.reported(self.folder):
            matches = [(_FOLDER.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)

    def _standing(self) -> list[Commit]:
        """The commits whose manifests are sound, newest first."""
        logged = self._logged()
        found = []
        for _, path in self._folders():
            try:
                artifact = open_artifact(path, self._identity, verify=False)
            except CorruptError:
                continue
            if artifact is not None and _is_acknowledged(artifact, logged):
                found.append(_as_commit(artifact))
        return found

    def _verified(self, commits: list[Commit]) -> Iterator[Commit]:
        for commit in commits:
            try:
                if open_artifact(commit.folder, self._identity) is not None:
                    yield commit
            except CorruptError:
                continue

    def _logged(self) -> dict[str, dict[str, Any]]:
        """The acknowledged commits by the name of their folder; a line whose checksum fails is passed over."""
        parsed = (_parse(line) for line in self._log.lines())
        return {entry["folder"]: entry for entry in parsed if entry is not None}

    def _prune(self) -> None:
        standing = self._standing()
        kept = {commit.folder for commit in standing[: self._keep_last]}
        kept |= {commit.folder for commit in _by_metric([c for c in standing if c.metric is not None])[:1]}
        with durable.reported(self.folder):
            for commit in standing:
                if commit.folder not in kept:
                    durable.remove_atomically(commit.folder)


def _by_metric(commits: list[Commit]) -> list[Commit]:
    """Best first, in the direction that the newest commit asks for; the earliest of equals first."""
    sign = 1 if commits and commits[0].keep_best == "min" else -1
    return sorted(commits, key=lambda commit: (sign * (commit.metric or 0.0), commit.number))


def _is_acknowledged(artifact: Artifact, logged: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the log has this content, or nothing, under the folder's name."""
    entry = logged.get(artifact.folder.name)
    return entry is None or entry["digest"] == artifact.digest


def _as_commit(artifact: Artifact) -> Commit:
    facts: Mapping[str, Any] = artifact.facts
    return Commit(
        folder=artifact.folder,
        number=facts["number"],
        step=facts["step"],
        digest=artifact.digest,
        metric=facts["metric"],
        position=facts["position"],
        keep_best=facts["keep_best"],
        num_bytes=artifact.num_bytes,
    )


def _render(commit: Commit) -> bytes:
    entry = render_line(
        {
            "number": commit.number,
            "step": commit.step,
            "folder": commit.folder.name,
            "digest": commit.digest,
            "metric": commit.metric,
        }
    )
    return hashlib.sha256(entry).hexdigest().encode() + b" " + entry


def _parse(line: bytes) -> dict[str, Any] | None:
    checksum, _, entry = line.partition(b" ")
    if hashlib.sha256(entry).hexdigest().encode() != checksum:
        return None
    return parse_object(entry)
