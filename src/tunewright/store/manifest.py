"""``manifest.json``: the names, lengths and SHA-256 of an artefact's files, its key and facts, and a digest over all that.

A manifest is accepted only byte for byte as it was rendered, so that no flipped bit in it goes unseen.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.errors import CorruptError
from tunewright.store import durable
from tunewright.store.digest import digest_json, sha256_file
from tunewright.store.disk import disk
from tunewright.store.document import MAX_DOCUMENT_BYTES, parse_object, render_json

MANIFEST = "manifest.json"
FORMAT = "tunewright-artifact-1"
ASIDE = ".old-"
"""How the names begin under which an artefact stands aside while another one takes its place."""

Facts = Mapping[str, object]

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MAX_NAME_BYTES = 200


def safe_name(name: str) -> str:
    """``name``, if it is a plain file name on every platform. Raises ValueError for separators, devices and the like."""
    reserved = name in ("", ".", "..", MANIFEST) or name.startswith((durable.PRIVATE, ASIDE)) or name[-1] in ". "
    if reserved or _UNSAFE.search(name) or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        raise ValueError(f"not a safe file name: {name!r}")
    return name


def seal(folder: Path, key: str, facts: Facts) -> None:
    """Sync every file in ``folder``, write the manifest over them, sync it and the folder.

    Raises OSError; ValueError for a folder or link inside, an unsafe name, facts with NaN or above 16 MiB.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        length = _plain_length(path)
        disk().sync_file(path)
        files[safe_name(path.name)] = {"length": length, "sha256": sha256_file(path)}
    body = {"facts": facts, "files": files, "format": FORMAT, "key": key}
    content = render_json({**body, "digest": digest_json(body)})
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"the facts of an artefact are limited to {MAX_DOCUMENT_BYTES} bytes")
    disk().write_new(folder / MANIFEST, content)
    disk().sync_folder(folder)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of ``folder``; None if the folder vanished meanwhile. Raises CorruptError, OSError."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise corrupt(path, "the manifest is too long", given="more than 16 MiB")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            return None
        raise corrupt(path, "the manifest is missing", given="a folder without it") from error
    try:
        manifest = parse_object(content)
        body = {name: manifest[name] for name in ("facts", "files", "format", "key")}
        is_sound = render_json({**body, "digest": digest_json(body)}) == content
        for name in manifest["files"]:
            safe_name(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise corrupt(path, "the manifest is damaged", given=str(error)) from error
    if not is_sound:
        raise corrupt(path, "the manifest does not match its own digest", given=str(manifest.get("digest")))
    if manifest["format"] != FORMAT:
        raise corrupt(path, "the manifest has another format", given=str(manifest["format"]), allowed=FORMAT)
    return manifest


def check_files(folder: Path, manifest: Mapping[str, Any], *, verify: bool) -> None:
    """Compare the files with their manifest: lengths, and with ``verify`` hashes and strangers, too.

    Raises CorruptError naming the file, OSError.
    """
    files: Mapping[str, Mapping[str, Any]] = manifest["files"]
    for name, entry in files.items():
        path = folder / name
        try:
            length = _plain_length(path)
        except FileNotFoundError as error:
            raise corrupt(path, "a file of the artefact is missing", given="no such file") from error
        except ValueError as error:
            raise corrupt(path, "a file of the artefact is damaged", given=str(error)) from error
        if length != entry["length"]:
            allowed = f"{entry['length']} bytes"
            raise corrupt(path, "a file of the artefact is damaged", given=f"{length} bytes", allowed=allowed)
        if verify and (found := sha256_file(path)) != entry["sha256"]:
            allowed = f"SHA-256 {entry['sha256']}"
            raise corrupt(path, "a file of the artefact is damaged", given=f"SHA-256 {found}", allowed=allowed)
    strangers = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {*files, MANIFEST}
    if verify and strangers:
        raise corrupt(folder / min(strangers), "a file that the manifest does not know", given=min(strangers))


def is_artifact(folder: Path) -> bool:
    """Whether ``folder`` holds a manifest of ours, sound or damaged: what may be replaced. Raises OSError."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(MAX_DOCUMENT_BYTES)


def corrupt(path: Path, problem: str, *, given: str, allowed: str = "what its manifest vouches for") -> CorruptError:
    """The CorruptError for a file of an artefact."""
    hint = f"remove {path.parent} and type the same command again; it is then made anew"
    return CorruptError(problem, where=str(path), given=given, allowed=allowed, hint=hint)


def _plain_length(path: Path) -> int:
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"an artefact holds plain files only: {path.name}")
    return state.st_size
