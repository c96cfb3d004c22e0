"""Locks: one owner, named, gone with its process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import audit_hook
from tunewright.errors import MachineError
from tunewright.store.lock import Holder, holder, locked

HOLD = """
import sys, threading
from pathlib import Path
from tunewright.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    threading.Event().wait()
"""

Start = Callable[..., subprocess.Popen[str]]


def held_by_another(start_process: Start, path: Path) -> subprocess.Popen[str]:
    """A process that owns the lock until it is killed."""
    process = start_process(sys.executable, "-c", HOLD, path)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


def test_the_owner_is_named_while_it_owns(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert holder(path) is None
    with locked(path):
        assert holder(path) == Holder(os.getpid(), socket.gethostname())
        assert path.stat().st_mode & 0o777 == 0o600
    assert holder(path) is None


def test_a_second_lock_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"):
        with pytest.raises(MachineError, match="another process") as caught, locked(tmp_path / ".lock"):
            pass
        assert str(caught.value.given) == f"process {os.getpid()} on {socket.gethostname()}"
        assert holder(tmp_path / ".lock") is not None
    with locked(tmp_path / ".lock", wait_seconds=1):
        pass


def test_another_process_is_refused_until_the_owner_is_killed(tmp_path: Path, start_process: Start) -> None:
    path = tmp_path / ".lock"
    process = held_by_another(start_process, path)
    with pytest.raises(MachineError, match="another process") as caught, locked(path):
        pass
    assert f"process {process.pid} on" in str(caught.value.given)
    process.kill()
    process.wait()
    assert holder(path) is None
    with locked(path):
        assert holder(path) == Holder(os.getpid(), socket.gethostname())


def test_an_error_in_the_block_releases(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / ".lock"):
        raise RuntimeError
    with locked(tmp_path / ".lock"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    reader, writer = os.pipe()
    with locked(path):
        child = audit_hook.start(os.fork)
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # lives until the parent has tried
            os._exit(0)
    try:
        with locked(path):
            assert holder(path) == Holder(os.getpid(), socket.gethostname())
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(child, 0)


def test_a_dead_or_unreadable_owner_is_nobody(tmp_path: Path, start_process: Start) -> None:
    path = tmp_path / ".lock"
    process = held_by_another(start_process, path)
    named = path.read_bytes()
    process.kill()
    process.wait()
    path.write_bytes(named)
    assert holder(path) is None
    path.write_bytes(b"\0\0")
    assert holder(path) is None
    path.write_bytes(b'{"pid": 1, "host": "another-machine"}')
    assert holder(path) == Holder(1, "another-machine")


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be used") as caught, locked(tmp_path / "no" / ".lock"):
        pass
    assert str(caught.value.given).startswith("ENOENT")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(MachineError, match="cannot be used"), locked(tmp_path / "link"):
        pass
    assert not (tmp_path / "target").exists()
