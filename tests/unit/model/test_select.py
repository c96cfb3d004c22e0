"""A name leads to a Base, and ``auto`` says what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.assets.convert.base import Material
from tunewright.errors import GateError, InputError
from tunewright.model.select import Select, choose_model, find_source, select
from tunewright.model.source.base import Order
from tunewright.model.source.gguf import Gguf
from tunewright.store.artifact import Draft
from tunewright.types import Facts


def _facts(**scripts: float) -> Facts:
    return Facts(num_rows=10, mean_characters=10.0, p99_characters=20, scripts=scripts)


@pytest.mark.parametrize(
    ("scripts", "name", "words"),
    [
        ({"Latin": 1.0}, "minilm-l6", "100.0% of the letters are Latin"),
        ({"Latin": 0.9, "Han": 0.1}, "minilm-l6", "90.0%"),
        ({"Latin": 0.89, "Han": 0.11}, "multilingual-e5-small", "89.0%"),
        ({"Han": 0.95, "Latin": 0.05}, "multilingual-e5-small", "95.0% are Han"),
        ({}, "multilingual-e5-small", "not known"),
    ],
)
def test_auto_goes_by_the_measured_scripts(scripts: dict[str, float], name: str, words: str) -> None:
    chosen, reason = choose_model(_facts(**scripts))
    assert chosen == name
    assert words in reason


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("minilm-l6", "Catalogue"),
        ("gemma-3-270m", "Catalogue"),
        ("run:movie-reviews-1a2b", "Run"),
        ("models/tiny.Q4_K_M.gguf", "Gguf"),
        ("google-bert/bert-base-chinese", "Hub"),
        ("google-bert/bert-base-chinese@v1.0", "Hub"),
        ("modelscope:iic/nlp_structbert_backbone", "Hub"),
        ("./minilm", "Folder"),
        ("/somewhere/minilm", "Folder"),
    ],
)
def test_each_form_of_a_name_finds_its_source(name: str, source: str) -> None:
    assert type(find_source(name)).__name__ == source


def test_a_folder_that_exists_goes_before_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert type(find_source("org/name")).__name__ == "Folder"
    for name in ("other/name", "org/other@main", "modelscope:org/other"):
        assert type(find_source(name)).__name__ == "Hub"


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("runs/suport", "runs/support"),
        ("./runs/suport", "runs/support"),
        ("runs/客户", "runs/客服"),
        ("runs/deep/er", ""),
        ("somewhere/deep/er", ""),
    ],
)
def test_a_slip_in_a_path_asks_no_hub(name: str, close: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "support").mkdir(parents=True)
    (tmp_path / "runs" / "客服").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no run in this folder") as caught:
        select(Select.Config(name=name), None)
    assert caught.value.hint == (
        f"did you mean {close}?" if close else "tunewright runs list, or tunewright assets list"
    )


def test_what_begins_with_runs_is_a_path_where_there_are_no_runs_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert type(find_source("runs/suport")).__name__ == "Folder"


def test_a_name_that_is_none_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="names no model") as caught:
        find_source("minilm-16")
    assert caught.value.hint == "did you mean minilm-l6?"
    assert "modelscope:org/name" in caught.value.allowed


def test_a_folder_becomes_a_base(tiny_bert_folder: Path) -> None:
    base = select(Select.Config(name=str(tiny_bert_folder)), None)
    assert base.folder == tiny_bert_folder
    assert (base.architecture, base.kind, base.reason) == ("bert", "encoder", "named in the recipe")
    assert len(base.digest) == 64


@pytest.mark.parametrize("form", ["id", "path"])
def test_an_earlier_run_takes_the_place_of_the_name(form: str, tiny_bert_folder: Path, tmp_path: Path) -> None:
    from shutil import copytree

    run = tmp_path / "runs" / "first-run"
    copytree(tiny_bert_folder, run / "model")
    (run / "model" / "tunewright.json").write_text('{"licence": "MIT"}', encoding="utf-8")
    base = select(Select.Config(), _facts(Latin=1.0), base_run=f"run:{run}")
    assert (base.folder, base.licence, base.source) == (run / "model", "MIT", "run first-run")
    if form == "id":
        with pytest.raises(InputError, match="no such run"):
            select(Select.Config(), None, base_run="run:second-run", runs=tmp_path / "runs")
    else:
        with pytest.raises(InputError, match="no run in this folder") as caught:
            select(Select.Config(), None, base_run=f"run:{run.with_name('frist-run')}")
        assert caught.value.hint == f"did you mean {run}?"


def test_a_run_that_was_not_finished_has_no_model(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with pytest.raises(InputError, match="no finished model"):
        select(Select.Config(), None, base_run=f"run:{tmp_path / 'half'}")


def test_terms_stop_a_model_until_they_are_accepted() -> None:
    with pytest.raises(GateError, match="terms"):
        select(Select.Config(name="gemma-3-270m"), None)


@pytest.mark.parametrize(
    ("name", "problem"), [("./none", "no run in this folder"), ("./none.gguf", "there is no such")]
)
def test_a_path_that_is_not_there(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        select(Select.Config(name=name), None)


def test_a_near_folder_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    with pytest.raises(InputError) as caught:
        select(Select.Config(name=str(tmp_path / "my-modle")), None)
    assert str(tmp_path / "my-model") in caught.value.hint


def test_a_gguf_file_is_converted_once_and_left_where_it_is(
    tiny_bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = []

    class Fake:
        def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
            ((name, member),) = material.members.items()
            conversions.append((name, member.read_bytes()))
            member.unlink()
            for path in tiny_bert_folder.iterdir():
                draft.write_bytes(path.name, path.read_bytes())
            return ()

    monkeypatch.setattr("tunewright.model.source.gguf.extensions.load", lambda family, name: Fake)
    path = tmp_path / "模型.Q4.gguf"
    path.write_bytes(b"GGUF")
    first = Gguf().fetch(Order(name=str(path)))
    moved = path.rename(tmp_path / "other.gguf")
    assert Gguf().fetch(Order(name=str(moved))).folder == first.folder
    assert moved.read_bytes() == b"GGUF"
    assert conversions == [("模型.Q4.gguf", b"GGUF")]
    assert "GGUF" in first.notes[0]
    moved.write_bytes(b"GGUF, another one")
    assert Gguf().fetch(Order(name=str(moved))).folder != first.folder
