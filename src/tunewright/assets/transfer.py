"""One file over HTTPS, with a bounded number of tries; a broken transfer goes on from where it was.

Used for packages and for hubs that have no library here. A failure is told as a short reason that names no address; the
caller, who knows the source, says the rest.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from tunewright.types import Tell

if TYPE_CHECKING:
    import httpx2

_ATTEMPTS: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.5
_CHUNK_BYTES: Final = 1 << 20
_TRANSIENT_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Result = TypeVar("Result")
Sleep = Callable[[float], None]


class NotServed(Exception):
    """A source cannot give the file; the text says why, as in "does not have it"."""


class NotReached(NotServed):
    """A source did not answer, however often it was asked."""


class Refused(NotServed):
    """A source wants to know first who is asking."""


class OtherFile(NotServed):
    """A source has a file of that name, but not the one that was asked for."""


class Passing(Exception):
    """A failure that is worth another try."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file that is wanted: its address, its name for people, its length and SHA-256 ("" where not known)."""

    url: str
    name: str
    num_bytes: int
    sha256: str


def retry(work: Callable[[], Result], sleep: Sleep | None = None) -> Result:
    """The result of ``work``, tried four times as long as it fails in passing; pauses double from half a second.

    Raises NotReached, and NotServed as ``work`` does.
    """
    import httpx2

    for attempt in range(_ATTEMPTS):
        try:
            return work()
        except (Passing, httpx2.TransportError) as error:
            reason = str(error) if isinstance(error, Passing) else type(error).__name__
            if attempt + 1 == _ATTEMPTS or isinstance(error, httpx2.UnsupportedProtocol):
                raise NotReached(f"cannot be reached ({reason})") from error
            (sleep or time.sleep)(_FIRST_PAUSE_SECONDS * 2**attempt)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise NotServed(f"does not serve it ({type(error).__name__})") from error
    raise AssertionError("unreachable")


def check_response(response: httpx2.Response) -> None:
    """Look at every response of a session, those that redirect included; an event hook for httpx2."""
    if response.status_code in _TRANSIENT_STATUS:
        raise Passing(f"status {response.status_code}")
    if response.status_code in (401, 403, 407):
        raise Refused(f"refuses access (status {response.status_code})")
    target = urlsplit(response.headers.get("Location", ""))
    if response.has_redirect_location and target.scheme not in ("", "http", "https"):
        raise NotServed("redirects to something that is no web address")


class Transfer:
    """A file on its way to ``target``. Call it, through ``retry``; what ``target`` holds already is not asked for again."""

    def __init__(self, session: Any, wanted: Wanted, target: Path, tell: Tell) -> None:
        """Prepare to fetch ``wanted`` with an httpx2 client; nothing is asked for yet."""
        self._session, self._wanted = session, wanted
        self._target, self._tell = target, tell
        self._held_bytes = 0
        self._hash = hashlib.sha256()
        self._is_taken_up = target.exists()
        if self._is_taken_up:
            self._take_up()

    def __call__(self) -> None:
        """Fetch what is missing and check the whole. Raises Passing, NotServed, OtherFile."""
        wanted = self._wanted
        if self._held_bytes < wanted.num_bytes or not self._target.exists():
            headers = {"Accept-Encoding": "identity"}
            if self._held_bytes:
                headers["Range"] = f"bytes={self._held_bytes}-"
            try:
                with self._session.stream("GET", wanted.url, headers=headers) as response:
                    self._receive(response)
            except PermissionError as error:
                raise NotServed("may not be read") from error
        if self._held_bytes < wanted.num_bytes:
            raise Passing("the transfer broke off")
        digest = self._hash.hexdigest()
        if wanted.sha256 and digest != wanted.sha256:
            self._target.unlink(missing_ok=True)
            self._held_bytes, self._hash = 0, hashlib.sha256()
            if self._is_taken_up:
                self._is_taken_up = False
                raise Passing("what an earlier process had fetched is damaged")
            raise OtherFile(f"has another file of that name, SHA-256 {digest}")

    def _take_up(self) -> None:
        with self._target.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                self._held_bytes += len(chunk)
                self._hash.update(chunk)
        if self._held_bytes > self._wanted.num_bytes:
            self._held_bytes, self._hash = 0, hashlib.sha256()

    def _receive(self, response: httpx2.Response) -> None:
        if response.status_code not in (200, 206):
            raise NotServed(f"answers with status {response.status_code}")
        total = self._wanted.num_bytes
        if response.status_code == 200:
            self._held_bytes, self._hash = 0, hashlib.sha256()
            announced = response.headers.get("Content-Length", str(total))
            if announced != str(total):
                raise OtherFile(f"has another file of that name, {announced} bytes long")
        with self._target.open("ab" if self._held_bytes else "wb") as file:
            for chunk in response.iter_bytes():  # of any size: a fixed one would lose what came before a break
                if self._held_bytes + len(chunk) > total:
                    raise OtherFile(f"has another file of that name, longer than {total:,} bytes")
                file.write(chunk)
                self._hash.update(chunk)
                self._held_bytes += len(chunk)
                done = f"{self._held_bytes / 1e6:.1f} of {total / 1e6:.1f} MB"
                self._tell(f"fetching {self._wanted.name}", self._held_bytes, total, done)
