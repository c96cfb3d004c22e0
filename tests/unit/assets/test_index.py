"""A pinned file is taken from whatever index pip was told to use, and from no other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunewright.assets.catalogue import Archive
from tunewright.assets.index import download
from tunewright.assets.settings import IndexSettings
from tunewright.errors import CorruptError, InputError, MachineError
from tunewright.types import tell_nobody

if TYPE_CHECKING:
    from unit.assets.conftest import FakeServer

CONTENT = bytes(range(256)) * 600
FILE = "tiny_pkg-1.0-cp27-none-win32.whl"
PATH = f"/files/{FILE}"


@pytest.fixture
def archive(server: FakeServer) -> Archive:
    """A pinned wheel on the index, for a machine that is not this one."""
    return server.offer("tiny-pkg", FILE, CONTENT)


def _download(archive: Archive, settings: IndexSettings, folder: Path) -> tuple[bytes, list[float]]:
    pauses: list[float] = []
    download(archive, settings, folder / archive.file, tell_nobody, pauses.append)
    return (folder / archive.file).read_bytes(), pauses


def test_the_pinned_file_arrives_with_progress(
    server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    told: list[tuple[str, float, float | None]] = []
    download(archive, settings, tmp_path / "x", lambda label, done, total, note: told.append((label, done, total)))
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert told[-1] == (f"fetching {FILE}", len(CONTENT), len(CONTENT))


def test_a_source_archive_is_found_beside_a_wheel(server: FakeServer, settings: IndexSettings, tmp_path: Path) -> None:
    source = server.offer("tiny-pkg", "tiny-pkg-1.0.tar.gz", b"source")
    server.offer("tiny-pkg", "tiny_pkg-1.0-py3-none-any.whl", b"wheel")
    assert _download(source, settings, tmp_path)[0] == b"source"


@pytest.mark.parametrize("advertised", [True, False])
def test_another_file_of_that_name_is_refused(
    advertised: bool, server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    server.pages[PATH] = b"evil" + CONTENT[4:]
    if advertised:
        other = hashlib.sha256(server.pages[PATH]).hexdigest().encode()
        server.pages["/simple/tiny-pkg/"] = server.pages["/simple/tiny-pkg/"].replace(archive.sha256.encode(), other)
    with pytest.raises(CorruptError, match="could not fetch") as caught:
        _download(archive, settings, tmp_path)
    assert "another file of that name" in str(caught.value.given)
    assert archive.sha256 in caught.value.allowed
    assert server.asked(PATH) == (0 if advertised else 1)


def test_a_file_that_is_too_long_is_not_even_begun(
    server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    server.pages[PATH] = CONTENT + bytes(5_000_000)
    with pytest.raises(CorruptError):
        _download(archive, settings, tmp_path)
    assert not (tmp_path / FILE).exists()


def test_failures_in_passing_are_tried_again_and_the_transfer_goes_on(
    server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    server.faults = {"/simple/tiny-pkg/": [503], PATH: [90, 500, 60]}
    content, pauses = _download(archive, settings, tmp_path)
    assert content == CONTENT
    assert pauses == [0.5, 0.5, 1.0, 2.0]
    ranges = [headers.get("range") for path, headers in server.requests if path == PATH]
    assert ranges == [None, "bytes=90-", "bytes=90-", "bytes=150-"]


def test_tries_are_bounded(server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path) -> None:
    server.faults = {PATH: [503] * 9}
    with pytest.raises(MachineError, match="could not fetch") as caught:
        _download(archive, settings, tmp_path)
    assert server.asked(PATH) == 4
    assert "status 503" in str(caught.value.given)


def test_an_index_that_is_down_is_named_with_what_to_do(archive: Archive, tmp_path: Path) -> None:
    settings = IndexSettings(index_url="http://user:secret@127.0.0.1:9/simple", timeout_seconds=1)
    with pytest.raises(MachineError) as caught:
        _download(archive, settings, tmp_path)
    assert not isinstance(caught.value, CorruptError)
    assert "http://127.0.0.1:9/simple cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "PIP_INDEX_URL" in caught.value.hint


def test_extra_indexes_come_after_the_index(server: FakeServer, tmp_path: Path) -> None:
    archive = server.offer("tiny-pkg", FILE, CONTENT, root="/extra")
    settings = IndexSettings(index_url=f"{server.url}/simple", extra_index_urls=(f"{server.url}/extra",))
    assert _download(archive, settings, tmp_path)[0] == CONTENT
    assert [path for path, _ in server.requests] == ["/simple/tiny-pkg/", "/extra/tiny-pkg/", PATH]


def test_an_extra_index_of_files_needs_no_server(tmp_path: Path) -> None:
    page = tmp_path / "simple" / "tiny-pkg"
    page.mkdir(parents=True)
    (page / FILE).write_bytes(CONTENT)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{FILE}">{FILE}</a>', encoding="utf-8")
    settings = IndexSettings(index_url="http://127.0.0.1:9/simple", extra_index_urls=((tmp_path / "simple").as_uri(),))
    archive = Archive("tiny-pkg", "1.0", FILE, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), ())
    assert _download(archive, settings, tmp_path)[0] == CONTENT


@pytest.mark.parametrize("form", ["path", "url", "page"])
def test_find_links_serve_without_an_index(form: str, server: FakeServer, archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT)
    link = {"path": str(folder), "url": folder.as_uri(), "page": f"{server.url}/simple/tiny-pkg/"}[form]
    settings = IndexSettings(find_links=(str(tmp_path / "nothing"), link), no_index=True)
    assert _download(archive, settings, tmp_path)[0] == CONTENT


def test_no_index_means_none(server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no-index is set"):
        _download(archive, replace(settings, no_index=True), tmp_path)
    assert server.requests == []


def test_an_index_over_plain_http_has_to_be_trusted(archive: Archive, tmp_path: Path) -> None:
    settings = IndexSettings(index_url="http://mirror.invalid/simple")
    with pytest.raises(MachineError, match="neither https nor a trusted host"):
        _download(archive, settings, tmp_path)


def test_the_default_index_is_not_named(monkeypatch: pytest.MonkeyPatch, archive: Archive, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError

    monkeypatch.setattr("unearth.PackageFinder.find_all_packages", refuse)
    with pytest.raises(MachineError) as caught:
        _download(archive, IndexSettings(), tmp_path)
    assert caught.value.given == "pip's default index does not serve it (ValueError)"


def test_name_and_password_of_the_index_go_to_the_index_alone(
    server: FakeServer, archive: Archive, tmp_path: Path
) -> None:
    port = server.url.rpartition(":")[2]
    server.redirects[PATH] = f"http://localhost:{port}/moved"
    server.pages["/moved"] = CONTENT
    settings = IndexSettings(index_url=f"http://me:p%40ss@127.0.0.1:{port}/simple")
    assert _download(archive, settings, tmp_path)[0] == CONTENT
    expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
    sent = {path: headers.get("authorization") for path, headers in server.requests}
    assert sent == {"/simple/tiny-pkg/": expected, PATH: expected, "/moved": None}


def test_an_index_that_asks_for_a_password_is_no_dialogue(
    server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    server.faults = {"/simple/tiny-pkg/": [401]}
    with pytest.raises(MachineError, match=r"refuses access \(status 401\)"):
        _download(archive, settings, tmp_path)
    assert server.asked("/simple/tiny-pkg/") == 1


def test_a_web_page_cannot_lead_to_files_of_this_machine(
    server: FakeServer, archive: Archive, settings: IndexSettings, tmp_path: Path
) -> None:
    local = tmp_path / "local" / FILE
    local.parent.mkdir()
    local.write_bytes(CONTENT)
    server.pages["/simple/tiny-pkg/"] = f'<!DOCTYPE html><a href="{local.as_uri()}">{FILE}</a>'.encode()
    with pytest.raises(MachineError, match="does not have it"):
        _download(archive, settings, tmp_path)
    server.offer("tiny-pkg", FILE, CONTENT)
    server.redirects[PATH] = local.as_uri()
    with pytest.raises(MachineError, match="no web address"):
        _download(archive, settings, tmp_path)


def test_a_certificate_that_cannot_be_read_is_named(archive: Archive, settings: IndexSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="certificate"):
        _download(archive, replace(settings, cert=str(tmp_path / "none.pem")), tmp_path)
