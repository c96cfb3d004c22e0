"""The guide is a program: its blocks are run once, in order, in one empty folder, on real reviews and a real model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pages import REPOSITORY, SMALL, Block, Done, blocks, run_command

GUIDE = REPOSITORY / "docs" / "guide.md"


def steps() -> Iterator[tuple[Block, str]]:
    """Each block that is run, with the text that the page shows after it, if any: it is the error of the block's command."""
    found = blocks(GUIDE)
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language != "text":
            yield block, after.text if after and after.language == "text" else ""


def written(folder: Path) -> set[Path]:
    """The files in a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(400)
def test_the_guide_runs_from_top_to_bottom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_process: Callable[..., CompletedProcess[str]],
    minilm_folder: Path,
    movie_reviews_file: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    done: list[Done] = []
    for number, (block, error) in enumerate(steps()):
        place = f"docs/guide.md:{block.line}"
        if block.language == "python":
            script = tmp_path / f"block{number}.py"
            script.write_text(block.text, encoding="utf-8")
            process = run_process(sys.executable, "-W", "error", script, folder=tmp_path)
            assert process.returncode == 0, f"{place}\n{process.stderr}"
            done.append(Done(place, 0, process.stdout, process.stderr))
            continue
        assert block.language == "sh", place
        before = written(tmp_path)
        for command in block.commands:
            done.append(run_command(command))
            assert done[-1].code == (2 if error else 0), f"{place}\n{done[-1].err}"
        if error:
            assert error in done[-1].err, place
            assert written(tmp_path) == before, place
    result = json.loads((tmp_path / "runs" / "guide" / "result.json").read_text(encoding="utf-8"))
    printed = next(one.out for one in done if one.command.startswith("docs/") and "decides" in one.out)
    assert printed.startswith(f"{result['verdict']['outcome']} on {result['num_judged']} rows")
    replayed = next(one.out for one in done if "replay" in one.command)
    assert "identical" in replayed
    shared = [tmp_path / "runs" / name / "data" / "train.arrow" for name in ("guide", "slower")]
    assert shared[0].samefile(shared[1])


def test_the_guide_has_its_chapters() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    chapters = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert [chapter[0] for chapter in chapters] == list("123456")
    assert {block.language for block in blocks(GUIDE)} == {"python", "sh", "text"}
