"""What every request passes before a route sees it: Host, key, room, body. Written against ASGI, so that nothing slips by.

Host (loopback only) ─▶ key ─▶ requests under way ─▶ body within its limits ─▶ route, with the lease of a model
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from tunewright.server.errors import Refusal, refusal_of
from tunewright.server.limits import Limits
from tunewright.server.served import Served

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health"})
"""What is answered without a key: it tells nothing."""

GRACE_SECONDS = 5.0
"""After its deadline, a request that is still being sent is dropped."""

logger = logging.getLogger(__name__)


class Gate:
    """Wraps the routes. ``hosts`` are the names of this machine that may stand in the Host header; empty: any."""

    def __init__(
        self, app: App, served: Served, limits: Limits.Config, *, key: str | None, hosts: frozenset[str]
    ) -> None:
        """Hold what is checked."""
        self._app = app
        self._served = served
        self._limits = limits
        self._key = None if key is None else key.encode()
        self._hosts = hosts
        self._under_way = 0
        self.is_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        sender = _Sender(send)
        try:
            self._check(scope)
            if scope["method"] != "POST":
                with self._served.lease() as model:
                    scope.setdefault("state", {})["model"] = model
                    await self._app(scope, receive, sender)
            else:
                await self._work(scope, receive, sender)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal.status == 500:
                logger.exception("a request failed")
            if sender.has_ended:
                return
            if sender.has_started:  # nothing else can be said: the connection is dropped
                raise
            await refusal.response()(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if self._hosts and _host_name(headers.get(b"host", b"")) not in self._hosts:
            problem = f"the Host header names another machine; allowed: {', '.join(sorted(self._hosts))}"
            raise Refusal(403, problem, code="host_not_allowed")
        if self._key is not None and scope["path"] not in OPEN_PATHS:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._key):
                problem = "the key is missing or wrong; allowed: the header Authorization: Bearer KEY"
                raise Refusal(401, problem, code="invalid_api_key", WWW_Authenticate="Bearer")

    async def _work(self, scope: Scope, receive: Receive, send: _Sender) -> None:
        """A request with a body: it takes a place, and gives it back when it ends or its client goes away."""
        if self.is_closing:
            raise Refusal(503, "the server is closing down", code="closing")
        if self._under_way >= self._limits.max_requests:
            problem = f"{self._under_way} requests are under way; allowed: {self._limits.max_requests}; try again soon"
            raise Refusal(429, problem, code="too_many_requests", Retry_After="1")
        self._under_way += 1
        deadline = asyncio.get_running_loop().time() + self._limits.max_seconds
        try:
            with self._served.lease() as model:
                body = await self._read(scope, receive, deadline)
                if body is None:
                    return
                scope.setdefault("state", {}).update(model=model, deadline=deadline)
                async with asyncio.timeout_at(deadline + GRACE_SECONDS):
                    await self._while_connected(scope, body, receive, send)
        finally:
            self._under_way -= 1

    async def _read(self, scope: Scope, receive: Receive, deadline: float) -> bytes | None:
        """The whole body; None where the client went away."""
        most = self._limits.max_body_bytes
        too_large = Refusal(413, f"the body is larger than {most} bytes", code="body_too_large", Connection="close")
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            problem = "the body did not arrive in time"
            raise Refusal(408, problem, code="slow_body", Connection="close") from None

    async def _while_connected(self, scope: Scope, body: bytes, receive: Receive, send: _Sender) -> None:
        """Run the route; cancel it when the client goes away."""
        messages: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.ensure_future(_disconnected(receive))

        async def replay() -> MutableMapping[str, Any]:
            if messages:
                return messages.pop()
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        answering = asyncio.ensure_future(self._app(scope, replay, send))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
        finally:
            for task in (answering, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


class _Sender:
    """Remembers whether an answer has begun, and ended: then no other can be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False
        self.has_ended = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.has_started = True
        await self._send(message)
        self.has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _host_name(header: bytes) -> str:
    """The name in a Host header, without the port: ``[::1]:80`` is ``::1``."""
    name = header.decode("latin-1").strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
