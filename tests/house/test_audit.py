"""The audit hook hears what it must hear, and lets through only what is declared."""

from __future__ import annotations

import io
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import audit_hook

if TYPE_CHECKING:
    from conftest import RunProcess


def _closing(act: Callable[[socket.socket], None]) -> None:
    with socket.socket() as opened:
        act(opened)


@pytest.mark.parametrize(
    ("act", "event"),
    [
        (lambda: pickle.loads(pickle.dumps(Path())), "pickle.find_class"),
        (lambda: subprocess.run(["true"], check=False), "subprocess.Popen"),
        (lambda: os.system("true"), "os.system"),
        (lambda: os.posix_spawn("/bin/true", ["true"], {}), "os.posix_spawn"),
        (lambda: _closing(lambda it: it.connect(("192.0.2.1", 80))), "socket.connect"),
        (lambda: _closing(lambda it: it.bind(("0.0.0.0", 0))), "socket.bind"),
        (lambda: socket.create_connection(("index.invalid", 443)), "socket.getaddrinfo"),
    ],
)
def test_an_act_is_refused_and_remembered(act: Callable[[], object], event: str) -> None:
    with pytest.raises(audit_hook.AuditError, match=event):
        act()
    remembered, audit_hook.refused[:] = list(audit_hook.refused), []
    assert len(remembered) == 1
    assert remembered[0].startswith(event)


def test_loopback_is_allowed() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_plain_values_may_be_unpickled() -> None:
    assert pickle.load(io.BytesIO(pickle.dumps([1, "two"]))) == [1, "two"]


def test_a_declared_process_runs_under_the_watch(run_process: RunProcess, tmp_path: Path) -> None:
    log = tmp_path / "refused.txt"
    code = "import os\ntry: os.system('true')\nexcept RuntimeError: print('refused')"
    done = run_process(sys.executable, "-c", code, environment={audit_hook.LOG: str(log)})
    assert done.stdout == "refused\n", done.stderr
    assert log.read_text(encoding="utf-8").startswith("os.system")


def test_a_direct_allowance_ends_at_its_module(run_process: RunProcess, tmp_path: Path) -> None:
    log = tmp_path / "refused.txt"
    program = tmp_path / "kill_campaign.py"
    program.write_text("import os, pty\nchild = os.fork()\nif not child: os._exit(0)\nos.waitpid(child, 0)\npty.fork()")
    done = run_process(sys.executable, program, environment={audit_hook.LOG: str(log)})
    assert "AuditError: os.forkpty() from pty < kill_campaign" in done.stderr


def test_every_allowance_has_its_reason() -> None:
    assert all(allowance.module and len(allowance.reason.split()) >= 3 for allowance in audit_hook.ALLOWED)
