"""An artefact: a folder that is there whole or not at all, with a manifest that vouches for every byte in it.

    fill ─▶ .tmp-… ─▶ sync files ─▶ manifest.json, sync ─▶ sync folder ─▶ rename ─▶ sync parent

A target that holds something else is first moved aside under ``.old-…`` and removed last. Should the machine stop in
between, ``open_artifact`` still finds the old one there, and the next commit puts things right.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunewright.errors import CorruptError, MachineError
from tunewright.store import durable
from tunewright.store.digest import digest_json, sha256_file
from tunewright.store.disk import disk
from tunewright.store.document import MAX_DOCUMENT_BYTES, parse_object, render_json

MANIFEST = "manifest.json"
FORMAT = "tunewright-artifact-1"

_ASIDE = ".old-"
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MAX_NAME_BYTES = 200

Facts = Mapping[str, object]
NO_FACTS: Facts = MappingProxyType({})


class Draft:
    """A private folder being filled. Its files lie flat: no folders, no links."""

    def __init__(self, folder: Path) -> None:
        """Fill ``folder``, which exists and is empty."""
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where to write the file ``name`` with any library; it is hashed and synced at the commit."""
        return self.folder / safe_name(name)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole. Raises OSError."""
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
    with durable.reported(target.parent):
        durable.make_folders(target.parent)
    with durable.reported(target):
        _restore_aside(target)
    standing = _reusable(target, key)
    if standing is not None:
        return standing
    draft = Draft(durable.private_path(target.parent))
    with durable.reported(target):
        disk().make_folder(draft.folder)
    try:
        with durable.filling(target):
            fill(draft)
        given = facts() if callable(facts) else facts
        with durable.reported(target):
            content = _seal(draft.folder, key, given)
            raced = _put_in_place(draft.folder, target, key)
    except BaseException:
        durable.discard(draft.folder)
        raise
    return raced or _as_artifact(target, parse_object(content))


def open_artifact(target: Path, key: str | None = None, verify: bool = True) -> Artifact | None:
    """The artefact at ``target``; None if there is none, or its key is not ``key``.

    Every file is checked against its hash and length, or its length alone with ``verify=False``. Raises CorruptError
    naming the file that is damaged, MachineError when the disk cannot be read.
    """
    with durable.reported(target):
        folder = target if target.is_dir() else _aside(target)
        if folder is None:
            return None
        manifest = _read_manifest(folder)
        if manifest is None:
            return None
        if key is not None and manifest["key"] != key:
            return None
        _check_files(folder, manifest["files"], verify)
        return _as_artifact(folder, manifest)


def file_digests(artifact: Artifact) -> dict[str, str]:
    """The SHA-256 of each file of an artefact, as its manifest says. Raises CorruptError."""
    manifest = _read_manifest(artifact.folder)
    return {} if manifest is None else {name: entry["sha256"] for name, entry in manifest["files"].items()}


def recover_folder(folder: Path) -> None:
    """Put right what a crash left in ``folder``, under its lock: orphans go, an artefact moved aside comes back.

    Raises MachineError.
    """
    durable.remove_orphans(folder)
    if folder.is_dir():
        with durable.reported(folder):
            for aside in sorted(folder.glob(f"{_ASIDE}*")):
                _restore_aside(folder / aside.name.removeprefix(_ASIDE).rpartition("-")[0])


def safe_name(name: str) -> str:
    """``name``, if it is a plain file name on every platform. Raises ValueError for separators, devices and the like."""
    reserved = name in ("", ".", "..", MANIFEST) or name.startswith((durable.PRIVATE, _ASIDE)) or name[-1] in ". "
    if reserved or _UNSAFE.search(name) or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        raise ValueError(f"not a safe file name: {name!r}")
    return name


# ------------------------------------------------------------------------------------------------------------ writing


def _reusable(target: Path, key: str) -> Artifact | None:
    try:
        return open_artifact(target, key)
    except CorruptError:
        return None


def _seal(folder: Path, key: str, facts: Facts) -> bytes:
    files = {}
    for path in sorted(folder.iterdir()):
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):
            raise ValueError(f"an artefact holds plain files only: {path.name}")
        disk().sync_file(path)
        files[safe_name(path.name)] = {"length": state.st_size, "sha256": sha256_file(path)}
    body = {"facts": facts, "files": files, "format": FORMAT, "key": key}
    content = render_json({**body, "digest": digest_json(body)})
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"the facts of an artefact are limited to {MAX_DOCUMENT_BYTES} bytes")
    disk().write_new(folder / MANIFEST, content)
    disk().sync_folder(folder)
    return content


def _put_in_place(folder: Path, target: Path, key: str) -> Artifact | None:
    """Rename into place; the artefact of another process if that one was faster with the same key."""
    aside = _move_aside(target)
    try:
        disk().rename(folder, target)
    except OSError:
        if aside is not None:
            with suppress(OSError):  # on a failing disk the next start brings it back
                disk().rename(aside, target)
                disk().sync_folder(target.parent)
            raise
        raced = _reusable(target, key)
        if raced is None:
            raise
        durable.discard(folder)
        return raced
    disk().sync_folder(target.parent)
    if aside is not None:
        durable.remove_atomically(aside)
    return None


def _move_aside(target: Path) -> Path | None:
    if not target.exists() and not target.is_symlink():
        return None
    if not _is_ours(target):
        raise MachineError(
            "something that is not an artefact stands in the way",
            where=str(target),
            given="a folder or file without our manifest",
            allowed="a free name, or an artefact made before",
            hint="move it away, or choose another folder",
        )
    aside = target.parent / f"{_ASIDE}{target.name}-{secrets.token_hex(8)}"
    disk().rename(target, aside)
    disk().sync_folder(target.parent)
    return aside


def _is_ours(target: Path) -> bool:
    manifest = target / MANIFEST
    if not manifest.is_file():
        return False
    with manifest.open("rb") as file:
        return FORMAT.encode() in file.read(MAX_DOCUMENT_BYTES)


def _aside(target: Path) -> Path | None:
    """Where a crash left the artefact that was about to be replaced, if it did."""
    pattern = re.compile(rf"{re.escape(_ASIDE + target.name)}-[0-9a-f]{{16}}")
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


# ------------------------------------------------------------------------------------------------------------ reading


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest, byte for byte as it was rendered; None if the folder vanished meanwhile."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise _corrupt(path, "the manifest is too long", given="more than 16 MiB")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            return None
        raise _corrupt(path, "the manifest is missing", given="a folder without it") from error
    try:
        manifest = parse_object(content)
        body = {name: manifest[name] for name in ("facts", "files", "format", "key")}
        sound = manifest["format"] == FORMAT and render_json({**body, "digest": digest_json(body)}) == content
        for name in manifest["files"]:
            safe_name(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _corrupt(path, "the manifest is damaged", given=str(error)) from error
    if not sound:
        raise _corrupt(path, "the manifest does not match its own digest", given=f"format {manifest['format']}")
    return manifest


def _check_files(folder: Path, files: Mapping[str, Mapping[str, Any]], verify: bool) -> None:
    for name, entry in files.items():
        path = folder / name
        try:
            state = path.lstat()
        except FileNotFoundError as error:
            raise _corrupt(path, "a file of the artefact is missing", given="no such file") from error
        if not stat.S_ISREG(state.st_mode) or state.st_size != entry["length"]:
            allowed = f"a plain file of {entry['length']} bytes"
            raise _corrupt(path, "a file of the artefact is damaged", given=f"{state.st_size} bytes", allowed=allowed)
        if verify and (found := sha256_file(path)) != entry["sha256"]:
            allowed = f"SHA-256 {entry['sha256']}"
            raise _corrupt(path, "a file of the artefact is damaged", given=f"SHA-256 {found}", allowed=allowed)
    strangers = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {*files, MANIFEST}
    if verify and strangers:
        stranger = folder / min(strangers)
        raise _corrupt(stranger, "a file that the manifest does not know", given=stranger.name)


def _corrupt(path: Path, problem: str, *, given: str, allowed: str = "what its manifest vouches for") -> CorruptError:
    hint = f"remove {path.parent} and type the same command again; it is then made anew"
    return CorruptError(problem, where=str(path), given=given, allowed=allowed, hint=hint)


def _as_artifact(folder: Path, manifest: Mapping[str, Any]) -> Artifact:
    num_bytes = sum(entry["length"] for entry in manifest["files"].values())
    return Artifact(folder, manifest["key"], manifest["digest"], manifest["facts"], num_bytes)
