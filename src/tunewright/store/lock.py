"""A lock between processes that dies with its owner: ``flock`` on a small file (``msvcrt.locking`` on Windows).

The file names its owner (process id and host) for the message that the others print. It is not data: nothing is lost
with it, so it is written in place and not synced. It is never removed, since a waiter may have it open.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tunewright.errors import MachineError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_POLL_SECONDS = 0.05
_LOCKED_BYTE = 1 << 30  # far behind the owner's name, because Windows also keeps others from reading a locked byte
_held: set[int] = set()


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as it named itself."""

    pid: int
    host: str


@contextmanager
def locked(path: Path, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lock at ``path`` for the length of a ``with`` block; the parent folder must exist.

    Waits at most ``wait_seconds`` for another owner, then raises MachineError naming its process id and host. The
    lock is not reentrant. It is released when the owner ends in any way; a forked child does not keep it alive.
    """
    descriptor = _open(path)
    owner = os.getpid()
    try:
        _acquire(descriptor, path, wait_seconds)
        _held.add(descriptor)
        _name_owner(descriptor, json.dumps({"pid": owner, "host": socket.gethostname()}).encode())
        yield
    finally:
        if os.getpid() == owner:  # a forked child that unwinds has lost the descriptor already
            _release(descriptor)


def holder(path: Path) -> Holder | None:
    """Who seems to hold the lock at ``path``: for display, without touching it. None if nobody, or a process that died."""
    try:
        named = json.loads(path.read_bytes() or b"{}")
        found = Holder(int(named["pid"]), str(named["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if found.host == socket.gethostname() and not _alive(found.pid) else found


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise _unusable(error, path) from error


def _acquire(descriptor: int, path: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(descriptor, path):
        if time.monotonic() >= deadline:
            owner = holder(path)
            raise MachineError(
                "another process is working here",
                where=str(path),
                given=f"process {owner.pid} on {owner.host}" if owner else "a process that has not named itself yet",
                allowed="one process at a time",
                hint="wait until it is done, or choose another folder",
            )
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise _unusable(error, path) from error
    return True


def _release(descriptor: int) -> None:
    if descriptor in _held:
        _held.discard(descriptor)
        _name_owner(descriptor, b"")
        _unlock(descriptor)
    os.close(descriptor)


def _unlock(descriptor: int) -> None:
    # Closing the file releases a flock, too, but only once no other process has inherited it.
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    else:
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]


def _name_owner(descriptor: int, name: bytes) -> None:
    with suppress(OSError):  # on a full disk the lock holds all the same, only nameless
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, name)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _unusable(error: OSError, path: Path) -> MachineError:
    return MachineError(
        "the lock file cannot be used",
        where=str(path),
        given=f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror or error}",
        allowed="a folder that can be written, on a file system with locks",
        hint="choose a folder on a local disk",
    )


def _forget_in_child() -> None:
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
