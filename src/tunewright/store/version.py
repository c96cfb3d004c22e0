"""A version on the shelf: a run's own copy that outlives the run, with all that answering, watching and tuning again need.

    registry/models/NAME/3/
        run.json  result.json  recipe.yaml      as they were when the version was added
        model/  data/                           artefacts, hard-linked where the file system can

It has the layout of a run's folder, so that whatever reads a run reads a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from tunewright.errors import CorruptError, InputError
from tunewright.store import durable
from tunewright.store.artifact import Artifact, link_artifact, open_artifact
from tunewright.store.digest import digest_json, sha256_file
from tunewright.store.disk import disk
from tunewright.store.run import IDENTITY, RESULT, RunFolder, unfinished

STAGES = ("model", "data")
DOCUMENTS = (IDENTITY, RESULT, "recipe.yaml")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One tuned model under a name. ``digest`` covers every byte of it; ``created`` is UTC; ``origin`` is its run."""

    name: str
    number: int
    folder: Path
    state: Literal["live", "kept", "removed"]
    digest: str
    verdict: str
    task: str
    base: str
    origin: str
    created: str
    note: str

    @property
    def model(self) -> Path:
        """The folder of the tuned model."""
        return self.folder / "model"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run whose files have been checked: its artefacts, documents, digest, and what its result says."""

    folder: Path
    artifacts: Mapping[str, Artifact]
    documents: Mapping[str, bytes]
    digest: str
    result: Mapping[str, Any]

    @property
    def described(self) -> tuple[str, str]:
        """The task, and the name of the base."""
        base = self.result.get("model", {})
        return str(self.result.get("task", "")), str(base.get("name", "") if isinstance(base, Mapping) else base)


def read_candidate(folder: Path) -> Candidate:
    """The run (or version) in ``folder``, every byte checked.

    Raises InputError where it has no tuned model or no result; CorruptError for a damaged file, and where the weights
    are not those that the result was made with.
    """
    run = RunFolder.open(folder)
    found = {name: open_artifact(folder / name) for name in STAGES}
    artifacts = {name: artifact for name, artifact in found.items() if artifact is not None}
    result = run.read_json(RESULT)
    if len(artifacts) < len(STAGES) or result is None or "hashes" not in result:
        raise unfinished(run)
    weights, expected = artifacts["model"].folder / WEIGHTS, result["hashes"].get("weights")
    if expected is not None and weights.is_file() and sha256_file(weights) != expected:
        raise CorruptError(
            "the weights are not those that were judged",
            where=str(weights),
            given="another SHA-256 than in result.json",
            allowed=str(expected),
            hint=f"judge them: tunewright evaluate {folder}",
        )
    with durable.reported(folder):
        documents = {name: (folder / name).read_bytes() for name in DOCUMENTS if (folder / name).is_file()}
    digests = {name: artifact.digest for name, artifact in artifacts.items()}
    whole = digest_json([digests, {name: sha256(content).hexdigest() for name, content in documents.items()}])
    return Candidate(folder, artifacts, documents, whole, result)


def copy_candidate(candidate: Candidate, target: Path) -> None:
    """Put a copy into the new folder ``target``, bring it to the drive, and check it.

    Raises MachineError; CorruptError where the run changed meanwhile. What was copied by then is left to the caller.
    """
    with durable.reported(target):
        durable.make_folders(target)
    for name, artifact in candidate.artifacts.items():
        link_artifact(artifact, target / name)
    with durable.reported(target):
        for name, content in candidate.documents.items():
            disk().write_new(target / name, content)
        disk().sync_folder(target)
    if read_candidate(target).digest != candidate.digest:
        where = str(candidate.folder)
        raise CorruptError("the run changed while it was copied", where=where, hint="type the same command again")


def verify(version: Version) -> None:
    """Raise CorruptError unless every byte of the version is as it was added."""
    try:
        found = read_candidate(version.folder).digest
    except InputError as error:
        found = error.problem
    if found != version.digest:
        raise CorruptError(
            "the version is damaged",
            where=str(version.folder),
            given=found,
            allowed=version.digest,
            hint=f"tunewright registry promote {version.name} another version",
        )
