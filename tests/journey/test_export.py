"""A run is handed over: exported, certified, loaded by others by the code in its own card, and served."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from small_reviews import SMALL, chinese_sentences, sentences, write_csv

import tunewright
from tunewright.deploy.certificate import Certify
from tunewright.deploying import Language, export
from tunewright.errors import GateError, InputError
from tunewright.server.limits import Limits
from tunewright.server.listen import listening
from tunewright.server.opening import open_folder, open_model
from tunewright.server.served import Served

if TYPE_CHECKING:
    from conftest import RunProcess


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tiny_bert_folder: Path) -> Path:
    """A finished run on English reviews."""
    folder = tmp_path_factory.mktemp("run")
    data = write_csv(folder / "reviews.csv", ("text", "label"), sentences(160))
    tunewright.run(data, out=folder / "run", overrides=(f"model={tiny_bert_folder}", *SMALL))
    return folder / "run"


def used(folders: Sequence[Path], run_process: RunProcess) -> list[Any]:
    """What the code of each model card prints, typed in the exported folder."""
    codes = [
        re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)[0]
        for folder in folders
    ]
    program = "\n".join(
        f"import os; os.chdir({str(folder)!r})\n{code}" for folder, code in zip(folders, codes, strict=True)
    )
    done = run_process(sys.executable, "-W", "error", "-c", program)
    assert done.returncode == 0, done.stderr
    return [json.loads(line.replace("'", '"')) for line in done.stdout.splitlines()]


def test_every_kind_of_classifier_is_exported_and_used_by_the_code_in_its_card(
    run_folder: Path, tmp_path: Path, tiny_bert_folder: Path, tiny_gpt2_folder: Path, run_process: RunProcess
) -> None:
    rows = chinese_sentences(100)
    several = [(text, "好评|长" if label == "好评" else label) for text, label in rows]
    runs = [run_folder]
    for name, given, model, options in (
        ("sigmoid", rows, tiny_bert_folder, ("task.name=classify", "task.output=sigmoid")),
        ("several", several, tiny_bert_folder, ()),
        ("decoder", rows, tiny_gpt2_folder, ()),
    ):
        data = write_csv(tmp_path / f"{name}.csv", ("评论", "标签"), given)
        runs.append(tmp_path / name)
        tunewright.run(data, out=runs[-1], overrides=(f"model={model}", *SMALL, "train.epochs=2", *options))
    folders = [tmp_path / f"out-{run.name}" for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        found = export(run, folder, language="zh")["certificate"]
        assert found["passed"]
        assert found["rows_with_equal_tokens"] == found["num_rows"] == found["num_available"]
        assert found["largest_gap"] <= found["limit"]
        assert json.loads((folder / "certificate.json").read_text(encoding="utf-8")) == found
    texts = ["a gripping film", "浪费时间"]
    expected = [[each["label"] for each in tunewright.predict(run, texts)] for run in runs]
    assert used(folders, run_process) == expected


def test_the_card_says_what_is_known_and_no_text_of_the_data(run_folder: Path, tmp_path: Path) -> None:
    result = json.loads((run_folder / "result.json").read_text(encoding="utf-8"))
    expected: dict[Language, tuple[str, ...]] = {"en": ("Licence", "Verdict"), "zh": ("许可", "结论", "交付证书")}
    for language, words in expected.items():
        export(run_folder, tmp_path / language, language=language)
        card = (tmp_path / language / "README.md").read_text(encoding="utf-8")
        assert all(word in card for word in words), card
        assert result["hashes"]["weights"] in card
        assert f"{result['data']['splits']['train']:,}" in card
        assert all(text not in card for text, _ in sentences(160))
        comparison = result["verdict"]["comparisons"][0]
        assert f"{comparison['tuned']:.3f}" in card
        assert len(re.findall(r"^\| .* \*? ?\|", card, re.MULTILINE)) >= 4


def test_the_same_export_is_not_made_twice_and_another_takes_its_place(run_folder: Path, tmp_path: Path) -> None:
    first = export(run_folder, tmp_path / "out")
    touched = (tmp_path / "out" / "README.md").stat().st_mtime_ns
    assert export(run_folder, tmp_path / "out") == first
    assert (tmp_path / "out" / "README.md").stat().st_mtime_ns == touched
    assert export(run_folder, tmp_path / "out", language="zh")["digest"] != first["digest"]


def test_what_answers_otherwise_is_taken_back(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    from tunewright.deploy.exporter.transformers import Transformers
    from tunewright.store.artifact import Draft

    write = Transformers.write

    def bend(self: Transformers, folder: Path, draft: Draft) -> None:
        write(self, folder, draft)
        weights = load_file(str(draft.folder / "model.safetensors"))
        weights["classifier.weight"][0] += 0.01
        save_file(weights, str(draft.folder / "model.safetensors"), metadata={"format": "pt"})

    monkeypatch.setattr(Transformers, "write", bend)
    with pytest.raises(GateError) as caught:
        export(run_folder, tmp_path / "out")
    assert caught.value.where == "the run's model -> transformers"
    assert "--max-gap" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    made = export(run_folder, tmp_path / "out", certificate=Certify.Config(max_gap=1.0))
    assert made["certificate"]["largest_gap"] > 1e-4, "let pass on request, and recorded"


def test_a_head_of_its_own_and_a_run_without_adapter_are_refused(
    tmp_path: Path, tiny_bert_folder: Path, run_folder: Path
) -> None:
    data = write_csv(tmp_path / "reviews.csv", ("text", "label"), sentences(100))
    options = ("task.name=classify", "task.pooling=mean", "train.epochs=1")
    tunewright.run(data, out=tmp_path / "run", overrides=(f"model={tiny_bert_folder}", *SMALL, *options))
    for folder, form, problem in ((tmp_path / "run", "transformers", "head"), (run_folder, "adapter", "no adapter")):
        with pytest.raises(InputError, match=problem) as caught:
            export(folder, tmp_path / "out", format=form)
        assert caught.value.hint
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="there is no exporter"):
        export(run_folder, tmp_path / "out", format="transformer")


def test_a_run_and_its_export_are_served_alike(run_folder: Path, tmp_path: Path) -> None:
    export(run_folder, tmp_path / "out")
    texts = ["a wonderful film", "boring and bad", ""]
    expected: list[dict[str, Any]] = tunewright.predict(run_folder, texts)
    for what in (str(run_folder), str(tmp_path / "out")):
        model = open_model(what)
        assert "chinese" in model.checked
        with listening(Served(model), Limits.Config()) as address:
            answer = httpx2.post(f"{address}/v1/classify", json={"input": texts, "model": model.name}).json()
        assert [{name: one[name] for name in ("label", "confidence")} for one in answer["results"]] == expected


def test_another_encoder_is_noticed_before_serving(run_folder: Path, tmp_path: Path) -> None:
    import shutil

    from tunewright.errors import CorruptError

    folder = Path(shutil.copytree(run_folder / "model", tmp_path / "model"))
    (folder / "manifest.json").unlink()
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"lowercase": true', '"lowercase": false'), "utf-8")
    with pytest.raises(CorruptError, match="token ids") as caught:
        open_folder(folder, "x")
    assert "english" in str(caught.value.given)
