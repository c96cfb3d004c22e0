"""An artefact: a folder that is there whole or not at all, with a manifest that vouches for every byte in it.

    fill ─▶ .tmp-… ─▶ sync files ─▶ manifest.json, sync ─▶ sync folder ─▶ rename ─▶ sync parent

A target that holds something else is first moved aside under ``.old-…`` and removed last. Should the machine stop in
between, ``open_artifact`` still finds the old one there, and the next commit puts things right.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from tunewright.errors import CorruptError, MachineError
from tunewright.store import durable
from tunewright.store.disk import disk
from tunewright.store.document import render_json
from tunewright.store.manifest import ASIDE, MANIFEST, Facts, check_files, is_artifact, read_manifest, safe_name, seal

NO_FACTS: Facts = MappingProxyType({})


class Draft:
    """A private folder being filled. Its files lie flat: no folders, no links."""

    def __init__(self, folder: Path) -> None:
        """Fill ``folder``, which exists and is empty."""
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where to write the file ``name`` with any library; it is hashed and synced at the commit.

        Raises ValueError for a name with a path in it.
        """
        return self.folder / safe_name(name)

    def scratch(self) -> IO[bytes]:
        """A file on the same drive for what need not last: no part of the commit, gone when it is closed or the process ends."""
        return tempfile.TemporaryFile(dir=self.folder)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole. Raises OSError, which the commit turns into a MachineError."""
        disk().write_new(self.path(name), content, sync=False)

    def write_json(self, name: str, value: object) -> None:
        """Write ``value`` as UTF-8 JSON, sorted keys, two spaces. Raises ValueError for NaN and infinities, OSError."""
        self.write_bytes(name, render_json(value))


@dataclass(frozen=True)
class Artifact:
    """A committed folder. ``digest`` covers names, contents, key and facts; ``num_bytes`` is the length of its files."""

    folder: Path
    key: str
    digest: str
    facts: Facts
    num_bytes: int


def commit_artifact(
    target: Path, key: str, fill: Callable[[Draft], None], facts: Facts | Callable[[], Facts] = NO_FACTS
) -> Artifact:
    """Fill a private folder and put it at ``target`` in one step; ``facts`` may be asked for after the filling.

    A target with the same key that verifies is returned untouched; one with another key, or a damaged one, is replaced.
    Raises MachineError when the disk fails (the target is then as before) and when something that is not an artefact
    stands at ``target``; whatever ``fill`` raises passes through, and nothing is left behind.
    """

    def build(folder: Path) -> None:
        with durable.filling(target):
            fill(Draft(folder))
        given = facts() if callable(facts) else facts
        with durable.reported(target):
            seal(folder, key, given)

    return _commit(target, key, build)


def link_artifact(source: Artifact, target: Path) -> Artifact:
    """The same artefact at ``target``, its files hard-linked (copied where the file system cannot), then verified.

    Raises CorruptError when the source is damaged, FileNotFoundError when it vanishes meanwhile, MachineError.
    """
    manifest = read_manifest(source.folder)
    if manifest is None:
        raise FileNotFoundError(source.folder)

    def build(folder: Path) -> None:
        for name in (*manifest["files"], MANIFEST):
            if not (source.folder / name).exists():
                raise FileNotFoundError(source.folder / name)
            with durable.reported(target):
                durable.link_or_copy(source.folder / name, folder / name)
        with durable.reported(target):
            check_files(folder, manifest, verify=True)
            for path in sorted(folder.iterdir()):
                disk().sync_file(path)
            disk().sync_folder(folder)

    return _commit(target, source.key, build)


def open_artifact(target: Path, key: str | None = None, verify: bool = True) -> Artifact | None:
    """The artefact at ``target``; None if there is none, or its key is not ``key``.

    Every file is checked against its hash and length, or its length alone with ``verify=False``. Raises CorruptError
    naming the file that is damaged, MachineError when the disk cannot be read.
    """
    with durable.reported(target):
        folder = target if target.is_dir() else _aside(target)
        manifest = None if folder is None else read_manifest(folder)
        if folder is None or manifest is None or key not in (None, manifest["key"]):
            return None
        check_files(folder, manifest, verify=verify)
        return _as_artifact(folder, manifest)


def recover_folder(folder: Path) -> None:
    """Put right what a crash left in ``folder``, under its lock: orphans go, an artefact moved aside comes back.

    The folder is synced, too: whoever changed it may have been killed before. Raises MachineError.
    """
    if not folder.is_dir():
        return
    durable.remove_orphans(folder)
    with durable.reported(folder):
        for aside in sorted(folder.glob(f"{ASIDE}*")):
            _restore_aside(folder / aside.name.removeprefix(ASIDE).rpartition("-")[0])
        disk().sync_folder(folder)


# ------------------------------------------------------------------------------------------------------------- inside


def _commit(target: Path, key: str, build: Callable[[Path], None]) -> Artifact:
    """``build`` leaves a sealed and synced folder, which then becomes ``target``."""
    with durable.reported(target):
        durable.make_folders(target.parent)
        _restore_aside(target)
        standing = _reusable(target, key)
        if standing is not None:  # whoever renamed it may have been killed before this
            disk().sync_folder(target.parent)
            return standing
        private = durable.private_path(target.parent)
        disk().make_folder(private)
    try:
        build(private)
        with durable.reported(target):
            return _put_in_place(private, target, key)
    except BaseException:
        durable.discard(private)
        raise


def _reusable(target: Path, key: str) -> Artifact | None:
    try:
        return open_artifact(target, key)
    except CorruptError:
        return None


def _put_in_place(private: Path, target: Path, key: str) -> Artifact:
    """Rename into place; or the artefact of another process, if that one was faster with the same key."""
    manifest = read_manifest(private)
    assert manifest is not None, private
    aside = _move_aside(target)
    try:
        disk().rename(private, target)
    except OSError:
        if aside is not None:
            with suppress(OSError):  # on a failing disk the next start brings it back
                disk().rename(aside, target)
                disk().sync_folder(target.parent)
            raise
        raced = _reusable(target, key)
        if raced is None:
            raise
        durable.discard(private)
        return raced
    disk().sync_folder(target.parent)
    if aside is not None:
        with suppress(OSError):  # what stays is removed at the next commit
            durable.remove_atomically(aside)
    return _as_artifact(target, manifest)


def _move_aside(target: Path) -> Path | None:
    if not target.exists() and not target.is_symlink():
        return None
    if not is_artifact(target):
        raise MachineError(
            "something that is not an artefact stands in the way",
            where=str(target),
            given="a folder or file without our manifest",
            allowed="a free name, or an artefact made before",
            hint="move it away, or choose another folder",
        )
    aside = target.parent / f"{ASIDE}{target.name}-{secrets.token_hex(8)}"
    disk().rename(target, aside)
    disk().sync_folder(target.parent)
    return aside


def _aside(target: Path) -> Path | None:
    """Where a crash left the artefact that was about to be replaced, if it did."""
    pattern = re.compile(rf"{re.escape(ASIDE + target.name)}-[0-9a-f]{{16}}")
    if not target.parent.is_dir() or target.is_symlink():
        return None
    return next((path for path in sorted(target.parent.iterdir()) if pattern.fullmatch(path.name)), None)


def _restore_aside(target: Path) -> None:
    while (aside := _aside(target)) is not None:
        if target.exists():
            durable.remove_atomically(aside)
        else:
            disk().rename(aside, target)
            disk().sync_folder(target.parent)


def _as_artifact(folder: Path, manifest: Mapping[str, Any]) -> Artifact:
    num_bytes = sum(entry["length"] for entry in manifest["files"].values())
    return Artifact(folder, manifest["key"], manifest["digest"], manifest["facts"], num_bytes)
