"""A file's name is an extension's name; other packages join by entry points; a clash is told, not hidden."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunewright
from tunewright import extensions
from tunewright.errors import InputError

FILES = {
    "__init__.py": "",
    "base.py": "raise RuntimeError('base is no extension')",
    "_shared.py": "raise RuntimeError('what starts with _ is no extension')",
    "plain.py": "class Plain:\n    '''Plain.'''\n",
    "two_words.py": "class TwoWords:\n    '''Two words.'''\n",
    "broken.py": "raise RuntimeError('imported')",
}


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A family ``toys.kind`` of four files, in a folder that becomes part of the package for this test."""
    folder = tmp_path / "toys" / "kind"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(tunewright, "__path__", [*tunewright.__path__, str(tmp_path)])
    _forget()
    yield "toys.kind"
    for name in [name for name in sys.modules if name.startswith("tunewright.toys")]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    for cached in (extensions.names, extensions.load, extensions._foreign):
        cached.cache_clear()


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution ``other`` whose entry points stand in the file that is given."""
    site = tmp_path / "site"
    folder = site / "other-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (site / "other_package.py").write_text("class Guest:\n    '''A guest.'''\n")
    monkeypatch.syspath_prepend(site)
    yield folder / "entry_points.txt"
    sys.modules.pop("other_package", None)


def test_names_are_file_names_and_nothing_is_imported(family: str) -> None:
    assert extensions.names(family) == ("broken", "plain", "two_words")
    assert not [name for name in sys.modules if name.startswith("tunewright.toys.kind.")]


def test_the_class_is_the_name_in_camel_case(family: str) -> None:
    assert extensions.load(family, "two_words").__name__ == "TwoWords"
    assert extensions.load(family, "plain").__doc__ == "Plain."
    assert "tunewright.toys.kind.broken" not in sys.modules
    assert extensions.class_name("tfidf_lr") == "TfidfLr"


def test_an_unknown_name_is_told_with_the_nearest(family: str) -> None:
    with pytest.raises(InputError) as caught:
        extensions.load(family, "plane")
    assert (caught.value.given, caught.value.allowed) == ("plane", "broken, plain, two_words")
    assert caught.value.hint == "did you mean plain?"
    assert "kind" in caught.value.problem


def test_an_unknown_family_is_a_mistake_in_the_program() -> None:
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        extensions.names("toys.nothing")


def test_another_package_joins_by_an_entry_point(family: str, other_package: Path) -> None:
    other_package.write_text(f"[tunewright.{family}]\nother_guest = other_package:Guest\n")
    assert extensions.names(family) == ("broken", "other_guest", "plain", "two_words")
    assert extensions.load(family, "other_guest").__doc__ == "A guest."


@pytest.mark.parametrize("points", ["plain = other_package:Guest", "twice = other_package:Guest\n[x]\n"])
def test_a_name_that_is_taken_is_an_error(family: str, other_package: Path, points: str) -> None:
    other_package.write_text(f"[tunewright.{family}]\n{points}\n")
    if points.startswith("twice"):
        second = other_package.parent.parent / "another-1.0.dist-info"
        second.mkdir()
        (second / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
        (second / "entry_points.txt").write_text(f"[tunewright.{family}]\ntwice = other_package:Guest\n")
    with pytest.raises(InputError, match="two extensions have the same name") as caught:
        extensions.names(family)
    assert caught.value.where == f"entry point tunewright.{family}"
