"""Archives are opened as untrusted containers."""

from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from tunewright.assets.archive import Limits, extract
from tunewright.errors import CorruptError, InputError

GOOD = {"pkg/model/config.json": b"{}", "pkg/model/w.bin": bytes(range(256)) * 40, "pkg/code.py": b"raise SystemExit"}


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _tar(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where members are written."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_only_the_wanted_members_are_written(form: str, tmp_path: Path, out: Path) -> None:
    path = (
        _zip(tmp_path / "a.whl", GOOD)
        if form == "zip"
        else _tar(tmp_path / "a.tar.gz", *((_entry(name), content) for name, content in GOOD.items()))
    )
    found = extract(path, ["pkg/model/w.bin", "pkg/model/*.json"], out.joinpath)
    assert list(found) == ["pkg/model/w.bin", "pkg/model/config.json"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "w.bin": GOOD["pkg/model/w.bin"],
        "config.json": b"{}",
    }


@pytest.mark.parametrize("name", ["../escape", "a/../../escape", "/absolute", "C:/windows", "a\\b", "a//b", ".."])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_name_that_could_lead_outside_is_refused(form: str, name: str, tmp_path: Path, out: Path) -> None:
    if form == "zip":
        path = _zip(tmp_path / "a.whl", {"wanted.txt": b"x", name: b"evil"})
    else:
        path = _tar(tmp_path / "a.tar.gz", (_entry("wanted.txt"), b"x"), (_entry(name), b"evil"))
    with pytest.raises(InputError, match="lead outside"):
        extract(path, ["wanted.txt"], out.joinpath)
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path, out: Path) -> None:
    path = _tar(tmp_path / "a.tar.gz", (_entry("wanted.txt", kind, "/etc/passwd"), b""), (_entry("b.txt"), b"x"))
    with pytest.raises(InputError, match="link or a device"):
        extract(path, ["b.txt"], out.joinpath)


def test_a_link_in_a_zip_is_refused(tmp_path: Path, out: Path) -> None:
    entry = zipfile.ZipInfo("wanted.txt")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        extract(tmp_path / "a.whl", ["wanted.txt"], out.joinpath)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_two_entries_of_one_name_are_refused(form: str, tmp_path: Path, out: Path) -> None:
    if form == "zip":
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a", "w") as archive:
            warnings.simplefilter("ignore")
            archive.writestr("wanted.txt", "first")
            archive.writestr("wanted.txt", "second")
    else:
        _tar(tmp_path / "a", (_entry("wanted.txt"), b"first"), (_entry("wanted.txt"), b"second"))
    with pytest.raises(InputError, match="two entries"):
        extract(tmp_path / "a", ["wanted.txt"], out.joinpath)


def test_wanted_members_that_would_overwrite_each_other_are_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(InputError, match="one file name"):
        extract(_zip(tmp_path / "a", {"a/x.json": b"1", "b/X.json": b"2"}), ["*/*.json"], out.joinpath)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_bomb_is_stopped_early(form: str, tmp_path: Path, out: Path) -> None:
    content = bytes(30_000_000)
    path = (
        _zip(tmp_path / "a", {"wanted.txt": content})
        if form == "zip"
        else _tar(tmp_path / "a", (_entry("wanted.txt"), content))
    )
    assert path.stat().st_size < 40_000
    with pytest.raises(InputError, match="more bytes than it may"):
        extract(path, ["wanted.txt"], out.joinpath)
    assert (out / "wanted.txt").stat().st_size <= 200 * 40_000


def test_a_tar_is_metered_in_its_unwanted_members_too(tmp_path: Path, out: Path) -> None:
    path = _tar(tmp_path / "a", (_entry("bomb"), bytes(30_000_000)), (_entry("wanted.txt"), b"x"))
    with pytest.raises(InputError, match="more bytes than it may"):
        extract(path, ["wanted.txt"], out.joinpath)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_too_many_entries_are_refused(form: str, tmp_path: Path, out: Path) -> None:
    names = [f"{number}.txt" for number in range(11)]
    if form == "zip":
        _zip(tmp_path / "a", dict.fromkeys(names, b""))
    else:
        _tar(tmp_path / "a", *((_entry(name), b"") for name in names))
    with pytest.raises(InputError, match="too many entries"):
        extract(tmp_path / "a", ["1.txt"], out.joinpath, Limits(max_entries=10))
    assert extract(tmp_path / "a", ["1.txt"], out.joinpath, Limits(max_entries=11))


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_damaged_archive_is_named(form: str, tmp_path: Path, out: Path) -> None:
    if form == "zip":
        whole = _zip(tmp_path / "a", GOOD).read_bytes()
    else:
        whole = _tar(tmp_path / "a", *((_entry(name), content) for name, content in GOOD.items())).read_bytes()
    num_refused = 0
    for position in range(0, len(whole), 7):
        (tmp_path / "b").write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = extract(tmp_path / "b", list(GOOD), out.joinpath)
        except (CorruptError, InputError):
            num_refused += 1
        else:
            assert {name: path.read_bytes() for name, path in found.items()} == GOOD
        for path in out.iterdir():
            path.unlink()
    assert num_refused > 20
    for length in range(0, len(whole), 17):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises((CorruptError, InputError)):
            extract(tmp_path / "b", list(GOOD), out.joinpath)
        for path in out.iterdir():
            path.unlink()


def test_a_missing_member_is_named(tmp_path: Path, out: Path) -> None:
    with pytest.raises(CorruptError, match="lacks a wanted member") as caught:
        extract(_zip(tmp_path / "a", GOOD), ["pkg/other.json"], out.joinpath)
    assert caught.value.given == "pkg/other.json"
