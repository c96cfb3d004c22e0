"""Watches what a process does while a test runs: no pickled classes, no processes, no connections off this machine.

Python reports such acts as audit events. One hook looks at each: if no allowance covers it, the act is refused on the
spot, and remembered, so that a test fails even where the code under test swallows the refusal.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

LOG = "AUDIT_LOG"
"""The variable that names the file in which a started process notes what it was refused."""

_PICKLE = frozenset({"pickle.find_class"})
_MARSHAL = frozenset({"marshal.load", "marshal.loads"})
_PROCESS = frozenset(
    {"subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn", "os.exec", "os.fork", "os.forkpty", "os.startfile"}
)
_NETWORK = frozenset({"socket.connect", "socket.sendto", "socket.bind"})
_LOOKUP = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
WATCHED = _PICKLE | _MARSHAL | _PROCESS | _NETWORK | _LOOKUP


class AuditError(RuntimeError):
    """The act is not allowed while tests run."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Acts that are allowed when a module whose name starts with ``module`` stands in the call stack, and why."""

    events: frozenset[str]
    module: str
    reason: str
    condition: Callable[[tuple[Any, ...]], bool] = lambda _: True
    is_direct: bool = False
    """The module itself must act, not something that it calls."""


def _command(*expected: str) -> Callable[[tuple[Any, ...]], bool]:
    """The process is started with these words at the end of its command (or, for one word, as its program)."""

    def matches(arguments: tuple[Any, ...]) -> bool:
        words = _words(arguments)
        program = os.path.basename(words[0])  # noqa: PTH119 - nothing is imported while a test is watched
        return tuple(words[-len(expected) :]) == expected or (program,) == expected

    return matches


def _words(arguments: tuple[Any, ...]) -> list[str]:
    """The command with which a process is started."""
    return [os.fsdecode(word) for word in arguments[1]] if len(arguments) > 1 else [""]


ALLOWED = (
    Allowance(_MARSHAL, "importlib._bootstrap_external", "Python's own import of compiled modules"),
    Allowance(_MARSHAL, "zipimport", "the same from an archive"),
    Allowance(_PROCESS, "torch._inductor", "the compiler of torch.compile"),
    Allowance(_PROCESS, "torch.utils.cpp_extension", "the compiler of torch.compile asks for its version"),
    Allowance(_PROCESS, "matplotlib.font_manager", "the font cache is built once", _command("fc-list")),
    Allowance(
        _PROCESS, "openai._base_client", "OpenAI's client tells the platform that it runs on", _command("uname", "-p")
    ),
    Allowance(
        _PROCESS,
        "tunewright.assets.settings",
        "pip's settings are asked of pip, which alone knows where they stand",
        _command("-m", "pip", "config", "list"),
    ),
    Allowance(
        _PROCESS,
        "tunewright.doctor.pair",
        "the self-test trains with two processes",
        lambda arguments: _words(arguments)[1:3] == ["-m", "tunewright.doctor.pair"],
    ),
    Allowance(
        _PROCESS,
        "tunewright.infer.native.build",
        "the C compiler makes the kernels once, on the machine that they run on",
    ),
    Allowance(
        _PROCESS,
        "tunewright.train.launch",
        "torchrun, where a recipe asks for several processes",
        lambda arguments: len(arguments) > 1 and list(arguments[1][1:3]) == ["-m", "torch.distributed.run"],
    ),
    Allowance(
        _PICKLE,
        "torch.distributed.elastic.rendezvous",
        "torchrun's own record of who has come: in a private file on one machine",
        lambda arguments: (
            arguments[0] in ("torch.distributed.elastic.rendezvous.dynamic_rendezvous", "datetime", "builtins")
        ),
    ),
    Allowance(_PROCESS, "torch.distributed.elastic", "torchrun starts the ranks that it was asked for"),
    Allowance(frozenset({"os.fork"}), "kill_campaign", "forks the runs that it kills", is_direct=True),
    Allowance(_PROCESS, "audit_hook", "a process that a test starts through the fixture, watched like the test"),
)
_INDEX = Allowance(_NETWORK | _LOOKUP, "tunewright.assets", "the package index, in tests that are marked for it")

refused: list[str] = []
"""What was refused since the list was last emptied."""

_state = {"is_watching": False, "may_reach_index": False}


def install() -> None:
    """Install the hook; it does nothing until ``watch``. Hooks cannot be removed, so this happens once."""
    sys.addaudithook(_hear)


def watch(is_watching: bool) -> None:
    """Turn the watch on or off."""
    _state["is_watching"] = is_watching


@contextmanager
def index_allowed() -> Iterator[None]:
    """Let the assets layer reach the package index."""
    before, _state["may_reach_index"] = _state["may_reach_index"], True
    try:
        yield
    finally:
        _state["may_reach_index"] = before


def start(popen: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``popen`` from here, so that the process counts as one that a test declared."""
    return popen(*args, **kwargs)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["is_watching"] or event not in WATCHED or _stays_here(event, arguments):
        return
    allowances = (*ALLOWED, _INDEX) if _state["may_reach_index"] else ALLOWED
    fitting = [one for one in allowances if event in one.events and one.condition(arguments)]
    callers = list(_callers(sys._getframe(1)))
    if any(caller.startswith(one.module) for one in fitting for caller in callers[: 1 if one.is_direct else None]):
        return
    act = f"{event}{arguments[1:] if event in _NETWORK else arguments!r} from {' < '.join(callers[:6])}"
    refused.append(act)
    if path := os.environ.get(LOG):
        with open(path, "a", encoding="utf-8") as log:  # noqa: PTH123 - nothing is imported while a test is watched
            log.write(act + "\n")
    raise AuditError(act)


def _callers(frame: FrameType | None) -> Iterator[str]:
    """The modules in the call stack, innermost first, each once in a row; a program goes by the name of its file."""
    last = ""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "?"))
        if name == "__main__":
            name = os.path.basename(frame.f_code.co_filename).removesuffix(".py")  # noqa: PTH119
        if name != last:
            yield name
        last, frame = name, frame.f_back


def _stays_here(event: str, arguments: tuple[Any, ...]) -> bool:
    """The act concerns this machine alone: a loopback address, or a socket in the file system."""
    if event in _LOOKUP:
        return _is_loopback(arguments[0])
    if event not in _NETWORK:
        return False
    address = arguments[-1]
    return isinstance(address, str | bytes) or (isinstance(address, tuple) and _is_loopback(address[0]))


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False
