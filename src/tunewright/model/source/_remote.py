"""The two hubs: how each lists a model's files, and where each file lies. Nothing here touches the disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from tunewright.assets.transfer import NotServed, check_response
from tunewright.errors import InputError

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_SECONDS: Final = 30.0
_MAX_LISTING_BYTES: Final = 32 << 20
_TRUE: Final = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a model on a hub: path in the repository, address, length, SHA-256 ("" where the hub does not say)."""

    name: str
    url: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a model at one revision, and the licence that its card names ("" where it names none)."""

    files: tuple[RemoteFile, ...]
    revision: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSite:
    """A hub as this machine sees it: its endpoint, the variable that moves it, the headers that say who is asking."""

    title: str
    endpoint: str
    endpoint_variable: str
    sign_in_variable: str
    headers: Mapping[str, str]
    is_offline: bool
    default_revision: str
    list_files: Callable[[Any, HubSite, str, str], Listing]


def huggingface(environment: Mapping[str, str] | None = None) -> HubSite:
    """The Hugging Face hub or its mirror: ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``."""
    variables = os.environ if environment is None else environment
    token = variables.get("HF_TOKEN") or variables.get("HUGGING_FACE_HUB_TOKEN") or _stored_token(variables)
    return HubSite(
        title="Hugging Face",
        endpoint=_endpoint(variables.get("HF_ENDPOINT") or "https://huggingface.co", "HF_ENDPOINT"),
        endpoint_variable="HF_ENDPOINT",
        sign_in_variable="HF_TOKEN",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        is_offline=any(variables.get(name, "").lower() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
        default_revision="main",
        list_files=_list_huggingface,
    )


def modelscope(environment: Mapping[str, str] | None = None) -> HubSite:
    """ModelScope: ``MODELSCOPE_ENDPOINT`` or ``MODELSCOPE_DOMAIN``, ``MODELSCOPE_API_TOKEN``."""
    variables = os.environ if environment is None else environment
    place = variables.get("MODELSCOPE_ENDPOINT") or variables.get("MODELSCOPE_DOMAIN") or "www.modelscope.cn"
    token = variables.get("MODELSCOPE_API_TOKEN", "")
    return HubSite(
        title="ModelScope",
        endpoint=_endpoint(place if "://" in place else f"https://{place}", "MODELSCOPE_ENDPOINT"),
        endpoint_variable="MODELSCOPE_ENDPOINT",
        sign_in_variable="MODELSCOPE_API_TOKEN",
        headers={"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {},
        is_offline=False,
        default_revision="master",
        list_files=_list_modelscope,
    )


def open_session(site: HubSite) -> httpx2.Client:
    """A client that speaks HTTPS alone (plain HTTP to this machine itself), and that knows who is asking."""
    import httpx2

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return httpx2.Client(
        verify=ssl.create_default_context(cafile=bundle) if bundle and Path(bundle).is_file() else True,
        headers=dict(site.headers),
        timeout=_TIMEOUT_SECONDS,
        follow_redirects=True,
        max_redirects=5,
        event_hooks={"request": [_stay_on_https], "response": [check_response]},
    )


def _stay_on_https(request: httpx2.Request) -> None:
    if request.url.scheme != "https" and not _is_loopback(request.url.host):
        raise NotServed("leads away from https")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _endpoint(url: str, variable: str) -> str:
    scheme, _, rest = url.partition("://")
    host = rest.split("/")[0].rpartition("@")[2].rpartition(":")[0] or rest.split("/")[0]
    if scheme == "https" or (scheme == "http" and _is_loopback(host)):
        return url.rstrip("/")
    raise InputError(
        "this endpoint is not reached by https",
        where=variable,
        given=url,
        allowed="an address that begins with https://",
        hint=f"export {variable}=https://...",
    )


def _stored_token(variables: Mapping[str, str]) -> str:
    home = variables.get("HF_HOME")
    path = Path(
        variables.get("HF_TOKEN_PATH") or (Path(home) if home else Path.home() / ".cache" / "huggingface") / "token"
    )
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return ""


def _ask(session: Any, url: str) -> Any:
    response = session.get(url)
    if response.status_code == 404:
        raise FileNotFoundError(url)
    if response.status_code != 200 or len(response.content) > _MAX_LISTING_BYTES:
        raise NotServed(f"answers with status {response.status_code}")
    return response.json()


def _list_huggingface(session: Any, site: HubSite, repository: str, revision: str) -> Listing:
    stem = f"{site.endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}"
    found = _ask(session, f"{stem}?blobs=true")
    commit = str(found["sha"])
    files = tuple(
        RemoteFile(
            entry["rfilename"],
            f"{site.endpoint}/{repository}/resolve/{commit}/{quote(entry['rfilename'])}",
            int(entry.get("size") or 0),
            str((entry.get("lfs") or {}).get("sha256", "")),
        )
        for entry in found["siblings"]
    )
    licence = (found.get("cardData") or {}).get("license", "")
    return Listing(files, commit, licence if isinstance(licence, str) else ", ".join(map(str, licence)))


def _list_modelscope(session: Any, site: HubSite, repository: str, revision: str) -> Listing:
    stem = f"{site.endpoint}/api/v1/models/{repository}/repo"
    found = _ask(session, f"{stem}/files?{urlencode({'Revision': revision, 'Recursive': 'true'})}")
    if found.get("Code") != 200:
        raise FileNotFoundError(repository)
    files = tuple(
        RemoteFile(
            entry["Path"],
            f"{stem}?{urlencode({'Revision': revision, 'FilePath': entry['Path']})}",
            int(entry["Size"]),
            str(entry.get("Sha256") or ""),
        )
        for entry in found["Data"]["Files"]
        if entry.get("Type", "blob") == "blob"
    )
    return Listing(files, revision, "")
