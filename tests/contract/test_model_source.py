"""Every file of ``model/source`` is a source: it knows its names, is silent about others, and never asks a network first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright import extensions
from tunewright.errors import TunewrightError
from tunewright.model.source.base import Description, ModelSource, Order

FAMILY = "model.source"
OWN_NAMES = {
    "catalogue": "minilm-l6",
    "folder": ".",
    "gguf": "tiny.gguf",
    "hub": "org/name",
    "run": "run:some-run",
}


@pytest.fixture(params=extensions.names(FAMILY))
def source(request: pytest.FixtureRequest) -> tuple[str, ModelSource]:
    """Each source with its name."""
    return request.param, extensions.load(FAMILY, request.param)()


def test_a_source_is_sure_of_its_own_names_and_says_how_sure(source: tuple[str, ModelSource]) -> None:
    file, made = source
    for name in (*OWN_NAMES.values(), "", "auto", "not a model", "模型"):
        assert 0 <= made.recognise(name) <= 1
    assert made.recognise(OWN_NAMES.get(file, "")) > 0 or file not in OWN_NAMES


def test_no_two_sources_are_equally_sure_of_a_name() -> None:
    sources = [extensions.load(FAMILY, file)() for file in extensions.names(FAMILY)]
    for name in OWN_NAMES.values():
        confidences = sorted(source.recognise(name) for source in sources)
        assert confidences[-1] > confidences[-2], name


def test_no_source_claims_what_is_no_model(source: tuple[str, ModelSource]) -> None:
    for name in ("auto", "not a model", "minilm-16", ""):
        assert source[1].recognise(name) == 0


def test_a_description_needs_no_network(source: tuple[str, ModelSource], tmp_path: Path) -> None:
    file, made = source
    name = {"gguf": str(tmp_path / "tiny.gguf")}.get(file, OWN_NAMES.get(file, ""))
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    description = made.describe(name)
    assert isinstance(description, Description)
    assert description.title


def test_a_model_that_is_not_there_is_refused_in_four_parts(
    source: tuple[str, ModelSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    missing = {
        "catalogue": "minilm-16",
        "folder": str(tmp_path / "none"),
        "gguf": str(tmp_path / "none.gguf"),
        "hub": "org/none",
        "run": "run:none",
    }
    with pytest.raises(TunewrightError) as caught:
        source[1].fetch(Order(name=missing[source[0]], runs=tmp_path))
    assert caught.value.given
    assert caught.value.allowed
    assert caught.value.hint
    assert caught.value.exit_code in (1, 2)
