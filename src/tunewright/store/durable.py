"""Writes made of several disk operations: replace a document, make folders, remove a tree, clean up after a crash.

An OSError leaves here as a MachineError with four parts. What was saved before stays as it was.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunewright.errors import MachineError
from tunewright.store.disk import disk

PRIVATE = ".tmp-"
"""How the names of unfinished files and folders begin. No reader looks at them; ``remove_orphans`` removes them."""

_PRIVATE = re.compile(rf"{re.escape(PRIVATE)}[0-9a-f]{{16}}")
_NOT_LINKABLE = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.EPERM)}
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_STORAGE = _FULL | {errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def private_path(folder: Path) -> Path:
    """A fresh name in ``folder`` for something unfinished; 64 random bits, so that no one can foresee it."""
    return folder / f"{PRIVATE}{secrets.token_hex(8)}"


def make_folders(folder: Path) -> None:
    """Make ``folder`` and its missing parents durably. Raises OSError.

    The entry of the deepest folder that exists is synced, too: whoever made it may have been killed before that.
    """
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    with suppress(PermissionError):  # a parent that may not be read is not one that we made
        disk().sync_folder(folder.parent)
    for path in reversed(missing):
        with suppress(FileExistsError):
            disk().make_folder(path)
        disk().sync_folder(path.parent)


def replace_document(path: Path, content: bytes) -> None:
    """Write a small file so that a reader, or a crash, finds the old content or the new one, whole.

    Raises MachineError; the old document then still stands, unless only the sync of the folder failed.
    """
    temporary = private_path(path.parent)
    with reported(path):
        make_folders(path.parent)
        try:
            disk().write_new(temporary, content)
            disk().rename(temporary, path)
        except BaseException:
            discard(temporary)
            raise
        disk().sync_folder(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system cannot link. Raises OSError."""
    try:
        disk().link(source, target)
    except OSError as error:
        if error.errno not in _NOT_LINKABLE:
            raise
        disk().copy(source, target)


def remove_tree(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it. Links are removed, never followed. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            for child in sorted(path.iterdir()):
                remove_tree(child)
            disk().remove_folder(path)
    else:
        with suppress(FileNotFoundError):
            disk().unlink(path)


def remove_atomically(path: Path) -> None:
    """Take a folder away under a private name first, so that no reader ever meets half of it. Raises OSError."""
    private = private_path(path.parent)
    disk().rename(path, private)
    disk().sync_folder(path.parent)
    remove_tree(private)


def discard(path: Path) -> None:
    """Clean up after a failure as far as the disk still allows; the rest is an orphan for the next start."""
    with suppress(OSError):
        remove_tree(path)


def remove_orphans(folder: Path) -> int:
    """Remove what killed processes left unfinished in ``folder``; how many. Call it only under the folder's lock.

    Raises MachineError.
    """
    if not folder.is_dir():
        return 0
    with reported(folder):
        orphans = sorted(path for path in folder.iterdir() if _PRIVATE.fullmatch(path.name))
        for path in orphans:
            remove_tree(path)
    return len(orphans)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a MachineError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise failure(error, path) from error


@contextmanager
def filling(path: Path) -> Iterator[None]:
    """Turn only what a full or broken disk raises, in any library's words, into a MachineError that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in _STORAGE:
            raise failure(error, path) from error
        raise
    except Exception as error:  # safetensors (Rust) and others wrap the system's error in their own class
        code = next((code for code in sorted(_STORAGE) if f"os error {code})" in str(error)), None)
        if code is None:
            raise
        raise failure(OSError(code, os.strerror(code)), path) from error


def failure(error: OSError, path: Path) -> MachineError:
    """The MachineError for an OSError met at ``path``."""
    problem, allowed, hint = _explain(error, path)
    given = f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror or error}"
    return MachineError(problem, where=str(path), given=given, allowed=allowed, hint=hint)


def _explain(error: OSError, path: Path) -> tuple[str, str, str]:
    again = "then type the same command again; what was saved before is intact"
    if error.errno in _FULL:
        return "the disk is full", f"a volume with free space ({_free(path)})", f"free some space, {again}"
    if error.errno == errno.EROFS:
        return "the file system is read-only", "a folder that can be written", f"choose another folder, {again}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not permitted to write here", "a folder that you own", f"change its owner or choose another, {again}"
    if error.errno == errno.EIO:
        return "the drive failed to write", "a drive without faults", f"look at the system log (dmesg), {again}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open", "a higher limit", f"ulimit -n 4096, {again}"
    return "the file operation failed", "a folder on a working drive", f"look at the path, {again}"


def _free(path: Path) -> str:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return f"{shutil.disk_usage(path).free / 1e6:,.0f} MB are free now"
    except OSError:
        return "how much is free is not known"
