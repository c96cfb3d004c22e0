"""Listen on an address: the socket, the rules of its interface, and uvicorn in a thread of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.errors import GateError, InputError, MachineError
from tunewright.server.limits import Limits
from tunewright.server.served import Served

KEY_VARIABLE = "TUNEWRIGHT_SERVER_KEY"
SHORTEST_KEY = 16
DRAIN_SECONDS = 5
"""Requests under way may go on for so long once the server is asked to end."""


def read_key(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The key from a file, else from the environment; None where there is neither. Raises InputError."""
    where, given = (str(file), _content(file)) if file is not None else (KEY_VARIABLE, environment.get(KEY_VARIABLE))
    if given is None:
        return None
    key = given.strip()
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "this is not a good key",
            where=where,
            given=f"{len(key)} characters",  # never the key itself
            allowed=f"at least {SHORTEST_KEY} printable ASCII characters without a space",
            hint="python -c 'import secrets; print(secrets.token_urlsafe(32))' > server.key",
        )
    return key


def check_address(host: str, key: str | None) -> tuple[str, frozenset[str]]:
    """The IP address to bind, and the names that the Host header may have there (empty: any).

    Raises InputError for what is no address, GateError where other machines could come in without a key.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError as error:
        raise InputError(
            "this is not an address to listen on",
            where="--host",
            given=host,
            allowed="an IP address of this machine, such as 127.0.0.1, 0.0.0.0 or ::1",
            hint="--host 127.0.0.1",
        ) from error
    if address.is_loopback:
        return str(address), frozenset({"localhost", "127.0.0.1", "::1", str(address)})
    if key is None:
        raise GateError(
            "other machines can reach this address, and there is no key",
            where="--host",
            given=host,
            allowed=f"127.0.0.1, or a key in --key-file or {KEY_VARIABLE}",
            hint="--key-file server.key",
        )
    return str(address), frozenset()


def check_free(host: str, port: int, key: str | None) -> None:
    """Raise at once, before a model is loaded, what ``listening`` would raise for this address."""
    _bound(check_address(host, key)[0], port).close()


@contextmanager
def listening(
    served: Served, limits: Limits.Config, *, host: str = "127.0.0.1", port: int = 0, key: str | None = None
) -> Iterator[str]:
    """Serve while the block runs; gives the address, such as ``http://127.0.0.1:8000``. Port 0 takes a free one.

    At the end no new request is taken, those under way get a few seconds, and the models are closed. Raises InputError
    without the extra `serve` or for a port that is taken, GateError as ``check_address`` does.
    """
    address, hosts = check_address(host, key)
    uvicorn = require_extra()
    from tunewright.server.gate import Gate
    from tunewright.server.routes import make_routes

    gate = Gate(make_routes(limits), served, limits, key=key, hosts=hosts)
    with _bound(address, port) as bound:
        config = uvicorn.Config(
            gate,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="serving", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield address_of(bound)
        finally:
            gate.is_closing = True
            server.should_exit = True
            thread.join()
            served.close()


def require_extra() -> Any:
    """uvicorn. Raises InputError where the extra `serve` is not installed."""
    try:
        import fastapi  # noqa: F401 - asked for, so that both are there
        import uvicorn
    except ImportError as error:
        raise InputError(
            "serving needs packages that are not installed",
            where="tunewright serve",
            given=str(error),
            allowed="the extra `serve`",
            hint="pip install 'tunewright[serve]'",
        ) from error
    return uvicorn


def address_of(bound: socket.socket) -> str:
    """The URL under which the socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        raise InputError(
            "this address cannot be listened on",
            where="--host, --port",
            given=f"{address}:{port}: {error.strerror or error}",
            allowed="a free port on an address of this machine",
            hint="--port 0 takes a free one",
        ) from error


def _wait_until_started(server: Any, thread: threading.Thread) -> None:
    while not server.started:
        if not thread.is_alive():
            raise MachineError("the server did not start", hint="look at the messages above")
        time.sleep(0.01)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the key cannot be read", where=str(file), given=str(error), allowed="a text file") from error
