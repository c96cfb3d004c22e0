"""Take one pinned file from the user's package index.

The file is found by name among what the index offers, streamed to a place that the caller gives, and accepted only if its
length and SHA-256 are those of the catalogue. The package's code is never run, and no password is asked for.
"""

from __future__ import annotations

import hashlib
import logging
import netrc
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tunewright.assets.catalogue import Archive
from tunewright.assets.settings import IndexSettings
from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.types import Tell

if TYPE_CHECKING:
    import httpx2
    from unearth import Link, PackageFinder

_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.5
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)

Sleep = Callable[[float], None]


def download(archive: Archive, settings: IndexSettings, target: Path, tell: Tell, sleep: Sleep = time.sleep) -> None:
    """Write the pinned file to ``target``.

    Sources are tried in this order: find-links, the index, extra indexes. Raises MachineError when none can be reached or
    none has the file, CorruptError when what they have is another file.
    """
    refusals: list[str] = []
    is_other_file = False
    with _open_finder(settings) as finder:
        sources = finder.sources
        for source in sources:
            finder.sources = [source]
            try:
                link = _retry(lambda: _find(finder, archive), sleep)
                _retry(_Transfer(finder.session, link, archive, target, tell), sleep)
                return
            except _NotHere as problem:
                is_other_file = is_other_file or isinstance(problem, _OtherFile)
                refusals.append(f"{_shown(source['url'], settings)} {problem}")
    error = CorruptError if is_other_file else MachineError
    raise error(
        f"could not fetch {archive.file}",
        where=f"{archive.package} {archive.version}",
        given="; ".join(refusals) or "no-index is set and there are no find-links",
        allowed=f"that very file, {archive.num_bytes:,} bytes with SHA-256 {archive.sha256}",
        hint="set PIP_INDEX_URL to an index or mirror that you can reach, or PIP_FIND_LINKS to a folder that holds the file;"
        " or work without it: `model: FOLDER` for a model, your own file for data",
    )


class _NotHere(Exception):
    """This source cannot give the file; the text says why."""


class _OtherFile(_NotHere):
    """This source has a file of that name, but not the pinned one."""


class _Transient(Exception):
    """Worth another try."""


def _retry(work: Callable[[], Any], sleep: Sleep) -> Any:
    """The result of ``work``, tried a bounded number of times as long as it fails in passing."""
    import httpx2

    for attempt in range(_ATTEMPTS):
        try:
            return work()
        except (_Transient, httpx2.TransportError) as error:
            problem = str(error) if isinstance(error, _Transient) else type(error).__name__
            if attempt + 1 == _ATTEMPTS or isinstance(error, httpx2.UnsupportedProtocol):
                raise _NotHere(f"cannot be reached ({problem})") from error
            sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise _NotHere(f"does not serve it ({type(error).__name__})") from error
    raise AssertionError("unreachable")


# ------------------------------------------------------------------------------------------------- finding the file


def _find(finder: PackageFinder, archive: Archive) -> Link:
    from unearth.collector import is_secure_origin
    from unearth.link import Link

    url = finder.sources[0]["url"]
    if "://" in url and not is_secure_origin(finder.session, Link(url)):
        raise _NotHere("is neither https nor a trusted host")
    if "://" not in url and not Path(url).exists():
        raise _NotHere("is not there")
    offered = [package.link for package in finder.find_all_packages(archive.package, allow_yanked=True)]
    named = [link for link in offered if link.filename == archive.file]
    is_local = "://" not in url or url.startswith("file:")
    usable = [link for link in named if is_local or link.parsed.scheme in ("http", "https")]
    if not usable:
        raise _NotHere("does not have it")
    for link in usable:
        if (link.hash_option or {}).get("sha256", [archive.sha256]) == [archive.sha256]:
            return link
    raise _OtherFile("has another file of that name")


@contextmanager
def _open_finder(settings: IndexSettings) -> Iterator[PackageFinder]:
    """A finder that knows the sources of ``settings`` and nothing else, with a session that never asks or runs anything."""
    from unearth import PackageFinder

    logging.getLogger("unearth").addHandler(logging.NullHandler())
    with _open_session(settings) as session:
        # A finder made without sources has pip's default index; one made with any has lost it.
        finder = PackageFinder(session=session, ignore_compatibility=True)
        default = [] if settings.no_index or settings.index_url else finder.sources
        finder.sources = []
        for url in settings.find_links:
            finder.add_find_links(url if "://" in url else str(Path(url).expanduser()))
        finder.sources += default
        for url in () if settings.no_index else (*filter(None, [settings.index_url]), *settings.extra_index_urls):
            finder.add_index_url(url)
        yield finder


def _shown(url: str, settings: IndexSettings) -> str:
    """A source as it may be shown: the user's own address without its password, the default index without its name."""
    if url not in (settings.index_url, *settings.extra_index_urls, *settings.find_links):
        return "pip's default index"
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url


# --------------------------------------------------------------------------------------------------- taking the file


class _Transfer:
    """One file on its way; called again after a failure in passing, it goes on from where it was."""

    def __init__(self, session: Any, link: Link, archive: Archive, target: Path, tell: Tell) -> None:
        self._session, self._url, self._archive = session, link.normalized, archive
        self._target, self._tell = target, tell
        self._held_bytes = 0
        self._hash = hashlib.sha256()

    def __call__(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self._held_bytes:
            headers["Range"] = f"bytes={self._held_bytes}-"
        try:
            with self._session.get_stream(self._url, headers=headers) as response:
                self._receive(response)
        except PermissionError as error:
            raise _NotHere("may not be read") from error
        if self._held_bytes < self._archive.num_bytes:
            raise _Transient("the transfer broke off")
        if self._hash.hexdigest() != self._archive.sha256:
            raise _OtherFile(f"has another file of that name, SHA-256 {self._hash.hexdigest()}")

    def _receive(self, response: httpx2.Response) -> None:
        if response.status_code not in (200, 206):
            raise _NotHere(f"answers {response.status_code}")
        if response.status_code == 200:
            self._held_bytes, self._hash = 0, hashlib.sha256()
        total = self._archive.num_bytes
        with self._target.open("ab" if self._held_bytes else "wb") as file:
            for chunk in response.iter_bytes(1 << 20):
                self._held_bytes += len(chunk)
                if self._held_bytes > total:
                    raise _OtherFile(f"has another file of that name, longer than {total:,} bytes")
                file.write(chunk)
                self._hash.update(chunk)
                done = f"{self._held_bytes / 1e6:.1f} of {total / 1e6:.1f} MB"
                self._tell(f"fetching {self._archive.file}", self._held_bytes, total, done)


# ------------------------------------------------------------------------------------------------------- the session


def _open_session(settings: IndexSettings) -> Any:
    import httpx2
    from unearth.fetchers.sync import PyPIClient

    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    verify: ssl.SSLContext | bool = True
    try:
        if settings.cert or settings.client_cert:
            verify = _trust(settings.cert)
        if settings.client_cert:
            assert isinstance(verify, ssl.SSLContext)
            verify.load_cert_chain(settings.client_cert)
            trusting.load_cert_chain(settings.client_cert)
    except OSError as error:
        raise InputError(
            "a certificate cannot be read",
            where="pip's settings `cert` and `client-cert`",
            given=settings.client_cert or settings.cert,
            allowed="a file in PEM form",
            hint="pip config list; then pip config set global.cert FILE",
        ) from error
    # Given as mounts as well, because the session's own transport for trusted hosts knows no proxy.
    transport = httpx2.HTTPTransport(verify=trusting, proxy=settings.proxy)
    return PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        mounts={f"all://{host}": transport for host in settings.trusted_hosts},
        verify=verify,
        proxy=settings.proxy,
        timeout=settings.timeout_seconds,
        follow_redirects=True,
        max_redirects=5,
        auth=_credentials(settings),
        event_hooks={"response": [_check]},
    )


def _trust(bundle: str | None) -> ssl.SSLContext:
    if bundle is None:
        return ssl.create_default_context()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _check(response: httpx2.Response) -> None:
    """Look at every response, those that redirect included."""
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise _Transient(f"status {status}")
    if status in (401, 403, 407):
        raise _NotHere(f"refuses access (status {status})")
    target = response.headers.get("Location", "")
    if response.has_redirect_location and urlsplit(target).scheme not in ("", "http", "https"):
        raise _NotHere("redirects to something that is no web address")


def _credentials(settings: IndexSettings) -> Callable[[httpx2.Request], httpx2.Request]:
    """Name and password from the index's own address or from .netrc; never asked for, never taken from a program."""
    import httpx2

    known: dict[str, tuple[str, str]] = {}
    for url in (*filter(None, [settings.index_url]), *settings.extra_index_urls, *settings.find_links):
        parts = urlsplit(url)
        if parts.username and parts.hostname:
            known.setdefault(parts.hostname, (unquote(parts.username), unquote(parts.password or "")))

    def apply(request: httpx2.Request) -> httpx2.Request:
        pair = known.get(request.url.host) or _from_netrc(request.url.host)
        if pair and request.url.scheme in ("http", "https"):
            request = next(httpx2.BasicAuth(*pair).auth_flow(request))
        return request

    return apply


def _from_netrc(host: str) -> tuple[str, str] | None:
    with suppress(OSError, netrc.NetrcParseError, RuntimeError):
        found = netrc.netrc().authenticators(host)
        return (found[0], found[2] or "") if found else None
    return None
