"""`tunewright doctor RECIPE` from a terminal: the engine keeps its invariances on this recipe, or the command fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_chat import dialogues

from tunewright.infer.native.build import built

if TYPE_CHECKING:
    from conftest import RunProcess

ALWAYS = {"evaluation", "accumulation", "flattened", "padding", "last window", "supervision", "frozen", "two processes"}
IN_BF16 = {"bf16"} if built().library is None else {"bf16", "halves"}


def test_a_recipe_on_minilm(
    tmp_path: Path, minilm_folder: Path, movie_reviews_file: Path, run_process: RunProcess
) -> None:
    recipe = tmp_path / "movie-reviews.yaml"
    recipe.write_text(
        f"version: 1\ndata: {{path: {movie_reviews_file}, columns: {{text: text, label: label}}}}\n"
        f"model: {minilm_folder}\ntask: classify\n",
        encoding="utf-8",
    )
    done = run_process(
        sys.executable, "-m", "tunewright", "doctor", recipe, folder=tmp_path, environment={"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    shown = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert shown >= ALWAYS, done.stdout
    assert "FAILS" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movie-reviews.yaml"]


def test_dialogues_as_json(tmp_path: Path, tiny_llama_folder: Path, run_process: RunProcess) -> None:
    data = tmp_path / "dialogues.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in dialogues()), encoding="utf-8")
    recipe = tmp_path / "dialogues.yaml"
    recipe.write_text(
        f"version: 1\ndata: {data}\nmodel: {tiny_llama_folder}\nmethod: {{name: lora, rank: 4}}\n"
        "train: {dtype: bf16}\n",  # open, the machine's own probe would choose, and with it the checks
        encoding="utf-8",
    )
    home = {"TUNEWRIGHT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    done = run_process(
        sys.executable, "-m", "tunewright", "doctor", recipe, "--json", folder=tmp_path, environment=home
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert {check["name"] for check in found["selftest"]["checks"]} == {*ALWAYS, *IN_BF16, "x-ray"}
    assert all(check["passed"] for check in found["selftest"]["checks"])
    assert len(list((tmp_path / "home" / "selftests").iterdir())) == 1, "the run that follows takes it as passed"


def test_a_check_that_fails_is_told_and_fails_the_command(
    tmp_path: Path, tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tunewright.cli.app import start
    from tunewright.doctor import pair
    from tunewright.infer import flat, segments
    from tunewright.train.fused import bert
    from tunewright.train.invariance import Invariance

    plan = segments.plan_segments
    for module in (flat, bert):
        monkeypatch.setattr(module, "plan_segments", lambda bounds, *_, **__: plan([0, bounds[-1]]))
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "home"))
    fine = Invariance(name="two processes", deviation=0.0, bound=1e-5, sentence="shown by the tests above")
    monkeypatch.setattr(pair, "check_pair", lambda *_: fine)
    rows = [f"a {word} film {number},{word}\n" for number in range(40) for word in ("good", "bad")]
    data = tmp_path / "reviews.csv"
    data.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    recipe = tmp_path / "reviews.yaml"
    recipe.write_text(f"version: 1\ndata: {data}\nmodel: {tiny_bert_folder}\n", encoding="utf-8")
    assert start(["doctor", str(recipe)]) == 3
    told = capsys.readouterr()
    assert "FAILS" in told.out
    assert "train.selftest=tell" in told.err
    assert not (tmp_path / "home" / "selftests").exists()
