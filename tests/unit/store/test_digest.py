"""Digests of files, JSON values and code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import pytest

import tunewright.errors
from tunewright.store.digest import digest_code, digest_json, sha256_file


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "文件").write_bytes(content)
    assert sha256_file(tmp_path / "文件") == hashlib.sha256(content).hexdigest()


def test_the_published_vector_of_sha256_holds() -> None:
    """FIPS 180-2, appendix B.1 gives the digest of ``abc``; a JSON text is hashed in its one-line form."""
    assert digest_json("abc") == hashlib.sha256(b'"abc"').hexdigest()
    assert digest_json({"b": 1, "a": "字"}) == hashlib.sha256(b'{"a":"\\u5b57","b":1}').hexdigest()


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    where: PurePosixPath


def test_records_and_plain_values_have_the_same_digest() -> None:
    assert digest_json(Point(1, PurePosixPath("a/b"))) == digest_json({"where": "a/b", "x": 1})
    assert digest_json(MappingProxyType({"c": Colour.RED, "t": (1, 2)})) == digest_json({"t": [1, 2], "c": "red"})
    assert digest_json({"undecodable \udc80": 1}) != digest_json({"undecodable \udc81": 1})


@pytest.mark.parametrize("value", [float("nan"), {"x": [float("inf")]}])
def test_nan_has_no_digest(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_json(value)


def test_what_has_no_json_form_has_no_digest() -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        digest_json({"x": object()})


def test_code_changes_change_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "pack" / "inner.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    before = digest_code("pack")
    assert before == digest_code("pack")
    assert before != digest_code("pack.inner")
    (tmp_path / "pack" / "inner.py").write_text("x = 2\n", encoding="utf-8")
    assert digest_code("pack") != before


def test_a_module_stands_for_its_file() -> None:
    source = Path(tunewright.errors.__file__).read_bytes()
    line = f"tunewright.errors {hashlib.sha256(source).hexdigest()}\n"
    assert digest_code("tunewright.errors") == hashlib.sha256(line.encode()).hexdigest()


def test_a_module_without_source_is_refused() -> None:
    with pytest.raises(ModuleNotFoundError):
        digest_code("tunewright.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        digest_code("sys")
