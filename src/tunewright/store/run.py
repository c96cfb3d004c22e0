"""The folder of one run: what it is (``run.json``), its stages, its checkpoints, its events, its documents.

    runs/20261121-movies/
        run.json  .lock  events.jsonl  result.json  report.html  recipe.yaml  ...
        data/  encoded/  ...        stages: artefacts under the key of all that went into them
        checkpoints/                commits of the training

A stage that a sibling run has made under the same key is linked in instead of made again, so that a new learning rate
does not prepare the data again; each run folder stays complete in itself.
"""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from tunewright.errors import CorruptError, InputError
from tunewright.store import durable
from tunewright.store.artifact import (
    NO_FACTS,
    Artifact,
    Draft,
    commit_artifact,
    link_artifact,
    open_artifact,
    recover_folder,
)
from tunewright.store.checkpoints import CheckpointStore
from tunewright.store.document import parse_object, render_json
from tunewright.store.events import EventLog, now_utc
from tunewright.store.lock import locked
from tunewright.store.manifest import Facts, is_artifact, safe_name

IDENTITY = "run.json"
LOCK = ".lock"
EVENTS = "events.jsonl"
CHECKPOINTS = "checkpoints"
RECIPE = "recipe.yaml"
RESULT = "result.json"

_STAGE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. ``identity`` is the digest of what is run; ``created`` is UTC; open it with ``RunFolder.open``."""

    folder: Path
    identity: str
    created: str
    command: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        create: bool = False,
        identity: str | None = None,
        command: Sequence[str] = (),
        versions: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """The run in ``folder``; with ``create`` an absent or empty folder becomes one with this identity.

        ``command`` and ``versions`` are noted when it is made. Raises InputError when there is no run, when the folder
        holds other files, or a run of another identity; CorruptError when ``run.json`` is damaged; MachineError.
        """
        described = _read_identity(folder)
        if described is None:
            if not create:
                raise _no_run(folder)
            _refuse_foreign(folder)
            described = {
                "identity": identity or "",
                "created": now_utc(),
                "command": list(command),
                "versions": {"python": sys.version.split()[0], **versions},
            }
            durable.replace_document(folder / IDENTITY, render_json(described))
        found = cls(
            folder,
            str(described["identity"]),
            str(described["created"]),
            tuple(described["command"]),
            dict(described["versions"]),
        )
        if identity is not None and found.identity != identity:
            raise _other_run(folder, found, identity)
        return found

    # -------------------------------------------------------------------------------------------------------- stages

    def stage(self, name: str) -> Path:
        """Where the artefact of a stage stands; names are lower-case ASCII. Raises ValueError for another name."""
        if not _STAGE.fullmatch(name) or name == CHECKPOINTS:
            raise ValueError(f"not a name for a stage: {name!r}")
        return self.folder / name

    def commit_stage(
        self, name: str, key: str, fill: Callable[[Draft], None], facts: Facts | Callable[[], Facts] = NO_FACTS
    ) -> Artifact:
        """The artefact of a stage under ``key``: this run's, a sibling's linked in, or one made now by ``fill``.

        A damaged one is made again. Raises MachineError, and whatever ``fill`` raises.
        """
        try:
            standing = self.open_stage(name, key)
        except CorruptError:
            standing = self._adopt(name, key)
        return standing or commit_artifact(self.stage(name), key, fill, facts)

    def open_stage(self, name: str, key: str) -> Artifact | None:
        """The artefact of a stage under ``key``, or None; one that only a sibling run has is linked into this folder.

        Raises CorruptError when this run's own is damaged, MachineError when linking fails.
        """
        return open_artifact(self.stage(name), key) or self._adopt(name, key)

    def drop(self, *names: str) -> None:
        """Take stages, or the checkpoints, away for good; what is not there is passed over. Raises MachineError."""
        durable.remove_orphans(self.folder)  # of a dropping that was killed
        with durable.reported(self.folder):
            for path in (self.folder / safe_name(name) for name in names):
                if path.is_dir():
                    durable.remove_atomically(path)

    def checkpoints(self, *, keep_last: int = 1) -> CheckpointStore:
        """The commits of this run's training."""
        return CheckpointStore(self.folder / CHECKPOINTS, identity=self.identity, keep_last=keep_last)

    @contextmanager
    def scratch(self) -> Iterator[CheckpointStore]:
        """A place for commits that are gone at the end of the block, or when the run of a killed process is locked again."""
        folder = durable.private_path(self.folder)
        try:
            yield CheckpointStore(folder, keep_last=2)
        finally:
            durable.discard(folder)

    # ----------------------------------------------------------------------------------------------------- documents

    def document(self, name: str) -> Path:
        """Where the document ``name`` stands. Raises ValueError for a name with a path in it."""
        return self.folder / safe_name(name)

    def write_document(self, name: str, content: str | bytes | Mapping[str, object] | Sequence[object]) -> Path:
        """Replace a small document as a whole: text as UTF-8, bytes as they are, anything else as JSON.

        A reader, or a crash, finds the old one or the new one. Raises MachineError; ValueError for NaN.
        """
        if isinstance(content, str):
            content = content.encode()
        elif not isinstance(content, bytes):
            content = render_json(content)
        durable.replace_document(self.document(name), content)
        return self.document(name)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a document, None if there is no such document. Raises CorruptError, MachineError."""
        return read_document(self.document(name))

    def events(self) -> EventLog:
        """The run's event log."""
        return EventLog(self.folder / EVENTS)

    @contextmanager
    def lock(self, wait_seconds: float = 0) -> Iterator[None]:
        """Own the run for the length of a ``with`` block, and clean up what a killed owner left unfinished.

        Raises MachineError naming the process and host that own it; InputError if it has become another run meanwhile.
        """
        with locked(self.folder / LOCK, wait_seconds):
            type(self).open(self.folder, identity=self.identity)
            recover_folder(self.folder)
            recover_folder(self.folder / CHECKPOINTS)
            yield

    # -------------------------------------------------------------------------------------------------------- inside

    def _adopt(self, name: str, key: str) -> Artifact | None:
        target = self.stage(name)
        for sibling in sibling_runs(self.folder):
            try:
                source = open_artifact(sibling / name, key, verify=False)
                if source is not None and source.folder.parent == sibling:
                    return link_artifact(source, target)
            except (CorruptError, FileNotFoundError):
                continue  # damaged, or just being removed: as if it were not there
        return None


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object at ``path``, None if there is no such file. Raises CorruptError, MachineError."""
    with durable.reported(path):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        return parse_object(content)
    except ValueError as error:
        raise CorruptError(
            "the document is damaged",
            where=str(path),
            given=str(error),
            allowed="a JSON object",
            hint=f"remove {path} and type the same command again",
        ) from error


def to_finish(command: Sequence[str]) -> str:
    """What to type to carry a run to its end: its own command, with ``run`` in place of a verb that ends earlier."""
    words = list(command)
    if words[1:2] in (["prepare"], ["train"]):
        words[1] = "run"
    return shlex.join(words)


def unfinished(run: RunFolder) -> InputError:
    """The error for a run that has not come as far as is needed, with its own command to finish it."""
    is_tuned = is_artifact(run.folder / "model") and not (run.read_json(RESULT) or {}).get("verdict")
    return InputError(
        "this run is tuned, but not judged yet" if is_tuned else "this run has no tuned model yet",
        where=str(run.folder),
        given="a run that stopped before, or still goes on",
        allowed="a finished run",
        hint=to_finish(run.command) or "finish it with the command that began it",
    )


def sibling_runs(folder: Path) -> list[Path]:
    """The other run folders beside ``folder``, the last by name first; links are not followed."""
    own = folder.absolute()
    beside = sorted(own.parent.iterdir(), reverse=True) if own.parent.is_dir() else []
    return [path for path in beside if path.name != own.name and is_run(path)]


def is_run(path: Path) -> bool:
    """Whether ``path`` is a run's folder itself, neither a link to one nor something unfinished."""
    plain = not path.is_symlink() and not (path / IDENTITY).is_symlink() and not path.name.startswith(".")
    return plain and path.is_dir() and (path / IDENTITY).is_file()


def _read_identity(folder: Path) -> dict[str, Any] | None:
    described = read_document(folder / IDENTITY)
    shape = {"identity": str, "created": str, "command": list, "versions": dict}
    if described is None or all(isinstance(described.get(name), kind) for name, kind in shape.items()):
        return described
    raise CorruptError(
        "the document is damaged",
        where=str(folder / IDENTITY),
        given=", ".join(sorted(described)) or "an empty object",
        allowed=", ".join(shape),
        hint=_beside(folder),
    )


def _beside(folder: Path) -> str:
    """The first free name beside a folder, as it is typed."""
    named = folder if folder.name else folder.absolute()
    free = next(path for n in itertools.count(2) if not (path := named.with_name(f"{named.name}-{n}")).exists())
    return shlex.join(["--out", str(free)])


def _refuse_foreign(folder: Path) -> None:
    own = (LOCK, durable.PRIVATE)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(
            "the run's folder must be a folder itself",
            where=str(folder),
            given="a file or a link",
            allowed="a new or empty folder",
            hint=_beside(folder),
        )
    foreign = sorted(p.name for p in folder.iterdir() if not p.name.startswith(own)) if folder.exists() else []
    if foreign:
        raise InputError(
            "the folder holds other files, so no run is started in it",
            where=str(folder),
            given=", ".join(foreign[:5]),
            allowed="a new or empty folder, or that of an earlier run",
            hint=_beside(folder),
        )


def _no_run(folder: Path) -> InputError:
    return InputError(
        "there is no run here",
        where=str(folder),
        given="no run.json in it" if folder.is_dir() else "no such folder",
        allowed="the folder of a run",
        hint="tunewright runs list",
    )


def _other_run(folder: Path, found: RunFolder, identity: str) -> InputError:
    return InputError(
        "the folder holds another run: its recipe, data or model differ",
        where=str(folder),
        given=f"identity {identity[:12]}, the folder has {found.identity[:12]} of {found.created}",
        allowed="the folder of the same run, to go on with it, or a new one",
        hint=_beside(folder),
    )
