"""The durable file operations of the package. No other module creates, syncs, renames or removes what must survive.

    caller ─▶ durable ─▶ disk() ─▶ one step per system call ─▶ the operating system

``disk()`` is the object in use: ``LocalDisk`` unless a test put another one in place with ``using``. Before each system
call it announces the ``Operation`` to its own ``step``; a recorder writes it down there, an injector raises there. A
failed sync is a failed write: the kernel may have dropped the pages, so it is never repeated on the same file.

Where a platform lacks a call, the fallback is: Windows cannot sync a folder (skipped; NTFS journals its entries) and has
no ``O_NOFOLLOW`` (links are refused by ``lstat`` before); macOS syncs with ``F_FULLFSYNC``, because its ``fsync`` stops
at the drive's cache; a file system that refuses to sync folders (EINVAL, ENOTSUP) is taken as it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Kind = Literal["mkdir", "create", "write", "sync_file", "sync_folder", "rename", "link", "unlink", "rmdir"]

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_UNSUPPORTED = {errno.EINVAL, getattr(errno, "ENOTSUP", errno.EINVAL), errno.ENOSYS}
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Operation:
    """One system call about to be made; ``content`` is what a write adds at the end of the file."""

    kind: Kind
    path: Path
    target: Path | None = None
    content: bytes = b""


class LocalDisk:
    """The operating system's own file calls. Each raises OSError and leaves earlier files as they were."""

    def step(self, operation: Operation) -> None:
        """Called before each system call; recorders and injectors override it."""

    def flush(self, descriptor: int) -> None:
        """Bring an open file to the drive, past the drive's cache where the platform can."""
        full = getattr(fcntl, "F_FULLFSYNC", None)
        if full is None:
            os.fsync(descriptor)
            return
        try:
            fcntl.fcntl(descriptor, full)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            os.fsync(descriptor)

    def make_folder(self, path: Path) -> None:
        """Make one folder, mode 0700; its parent exists."""
        self.step(Operation("mkdir", path))
        os.mkdir(path, 0o700)

    def write_new(self, path: Path, content: bytes, *, sync: bool = True) -> None:
        """Create a file that does not exist (O_EXCL, O_NOFOLLOW), mode 0600, write it, and sync it unless told otherwise."""
        with self._created(path) as descriptor:
            self.step(Operation("write", path, content=content))
            _write_all(descriptor, content)
            if sync:
                self.step(Operation("sync_file", path))
                self.flush(descriptor)

    def append(self, path: Path, content: bytes) -> None:
        """Add to the end of a file (O_APPEND), sync."""
        with _opened(path, os.O_WRONLY | os.O_APPEND) as descriptor:
            self.step(Operation("write", path, content=content))
            _write_all(descriptor, content)
            self.step(Operation("sync_file", path))
            self.flush(descriptor)

    def copy(self, source: Path, target: Path) -> None:
        """Copy to a name that does not exist, by chunks of 1 MiB, sync."""
        with _opened(source, os.O_RDONLY) as reader, self._created(target) as writer:
            while chunk := os.read(reader, _CHUNK_BYTES):
                self.step(Operation("write", target, content=chunk))
                _write_all(writer, chunk)
            self.step(Operation("sync_file", target))
            self.flush(writer)

    def sync_file(self, path: Path) -> None:
        """Bring a file that another library wrote to the drive: open again, restrict the mode, sync."""
        with _opened(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY) as descriptor:
            self.step(Operation("sync_file", path))
            if hasattr(os, "fchmod") and os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
            self.flush(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Bring the entries of a folder to the drive, where the platform can."""
        self.step(Operation("sync_folder", path))
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY | _CLOEXEC)
        try:
            self.flush(descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """``os.replace``: atomic on every platform for files, and for folders onto a free name."""
        self.step(Operation("rename", source, target=target))
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name (a hard link)."""
        self.step(Operation("link", source, target=target))
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file or a symbolic link."""
        self.step(Operation("unlink", path))
        os.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        self.step(Operation("rmdir", path))
        os.rmdir(path)

    @contextmanager
    def _created(self, path: Path) -> Iterator[int]:
        self.step(Operation("create", path))
        with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            yield descriptor


_in_use: list[LocalDisk] = [LocalDisk()]


def disk() -> LocalDisk:
    """The disk in use."""
    return _in_use[-1]


@contextmanager
def using(replacement: LocalDisk) -> Iterator[None]:
    """Put another disk in place for the length of a ``with`` block (tests only; it holds for every thread)."""
    _in_use.append(replacement)
    try:
        yield
    finally:
        _in_use.pop()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor whose close is checked, too, unless an error is already on its way."""
    descriptor = os.open(path, flags | _NOFOLLOW | _CLOEXEC | _BINARY, 0o600)
    try:
        yield descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
