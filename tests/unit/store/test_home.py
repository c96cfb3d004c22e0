"""Where the cache is, on each platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.errors import MachineError
from tunewright.store.home import cache_folder


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNEWRIGHT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr("sys.platform", "linux")


def test_our_own_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "缓存"))
    assert cache_folder() == tmp_path / "缓存"
    assert not cache_folder().exists()


def test_our_own_variable_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNEWRIGHT_HOME", "cache/../here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("TUNEWRIGHT_HOME", "~/cache")
    assert cache_folder() == Path("/home/somebody/cache")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", "/home/somebody/.cache/tunewright"),
        ("darwin", "/home/somebody/Library/Caches/tunewright"),
        ("win32", "/home/somebody/AppData/Local/tunewright"),
    ],
)
def test_each_platform_has_its_place(monkeypatch: pytest.MonkeyPatch, platform: str, expected: str) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == Path(expected)


def test_windows_says_where_local_data_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/tunewright/Cache")


def test_a_relative_xdg_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/shared/tunewright")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/somebody/.cache/tunewright")


def test_without_a_home_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(MachineError, match="no home folder") as caught:
        cache_folder()
    assert "TUNEWRIGHT_HOME" in caught.value.hint
