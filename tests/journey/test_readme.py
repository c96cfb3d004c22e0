"""The README is true: every command in it runs, in order, on a small file, and its tables say what the code says."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from pages import REPOSITORY, SMALL, Done, blocks, relative_links, run_command, take_rows
from small_questions import write_questions

from tunewright import errors
from tunewright.assets import catalogue
from tunewright.recipe import read_request

if TYPE_CHECKING:
    from conftest import StartProcess

README = REPOSITORY / "README.md"
BOTH = [README, REPOSITORY / "README.zh.md"]
SET_UP = ("python3 -m venv ", ".venv/bin/python -m pip install ", "source .venv/bin/activate", "make ")
"""Lines that set a machine up: they are looked at, not run."""

SERVE = "tunewright serve"
"""Commands that do not end: each is started, asked, and interrupted."""

QUICK_CHAT = {
    "TUNEWRIGHT_ENCODE__MAX_LENGTH": "96",
    "TUNEWRIGHT_EVALUATE__GENERATED_ROWS": "3",
    "TUNEWRIGHT_EVALUATE__MAX_NEW_TOKENS": "8",
}

NAMES = "".join(
    f"{who}\tB-PER\nin\tO\n{where}\tB-LOC\n{day}\tO\n\n"
    for day in range(20)
    for who, where in (("Ada", "Rome"), ("Bo", "Oslo"))
)
"""Sentences of tagged words."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, minilm_folder: Path, movie_reviews_file: Path, tiny_llama_folder: Path
) -> Iterator[tuple[Path, list[Done]]]:
    """A folder in which everything that the README says was done, and what came of each command."""
    folder = tmp_path_factory.mktemp("reader")
    take_rows(movie_reviews_file, folder / "reviews.csv", 120)
    take_rows(movie_reviews_file, folder / "more.csv", 60, offset=5)
    take_rows(movie_reviews_file, folder / "new.csv", 30, offset=9)
    write_dialogues(folder / "chats.jsonl", 60)
    (folder / "questions.csv").write_text("question\nWhat is AI?\n什么是人工智能？\n", encoding="utf-8")
    write_questions(folder / "data_small.json", "en")
    (folder / "names.conll").write_text(NAMES, encoding="utf-8")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    # A recipe's own data and model would take minutes; everything else in it is as it stands.
    encoder = {"TUNEWRIGHT_DATA__PATH": "reviews.csv", "TUNEWRIGHT_MODEL__NAME": str(minilm_folder)}
    decoder = {**QUICK_CHAT, "TUNEWRIGHT_MODEL__NAME": str(tiny_llama_folder)}
    stand_ins = {
        " recipes/": encoder,
        "dialogues.yaml": {**decoder, "TUNEWRIGHT_DATA__PATH": "chats.jsonl"},
        "names.yaml": {**encoder, "TUNEWRIGHT_DATA__PATH": "names.conll"},
        " chats.jsonl": decoder,
    }
    done: list[Done] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        for block in blocks(README):
            if block.language == "python":
                (folder / "block.py").write_text(block.text, encoding="utf-8")
                runpy.run_path("block.py")
            elif block.language == "sh":
                for command in block.commands:
                    if not command.startswith((*SET_UP, SERVE)):
                        stand_in = [given for part, given in stand_ins.items() if part in command]
                        done.append(run_command(command, stand_in[-1] if stand_in else {}))
        yield folder, done


def test_every_command_ends_well(walked: tuple[Path, list[Done]]) -> None:
    _, done = walked
    assert len(done) > 25
    assert {one.command: one.err for one in done if one.code} == {}


def test_every_server_answers(walked: tuple[Path, list[Done]], start_process: StartProcess) -> None:
    folder, _ = walked
    lines = [line for block in blocks(README) for line in block.commands if line.startswith(SERVE)]
    assert len(lines) == 2
    for line in lines:
        words = [sys.executable, "-m", *shlex.split(line), "--port", "0", "--json"]
        process = start_process(*words, folder=folder)
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        answer = httpx2.post(f"{ready['address']}/v1/classify", json={"input": ["好看"]}, timeout=60)
        assert answer.status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def write_dialogues(path: Path, count: int) -> Path:
    """Short dialogues as JSON Lines."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {number}?"},
                {"role": "assistant", "content": f"It is {number}."},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_run_leaves_what_is_promised(walked: tuple[Path, list[Done]]) -> None:
    folder, _ = walked
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result == json.loads((folder / "runs" / "reviews" / "result.json").read_text(encoding="utf-8"))
    assert result["verdict"]["outcome"] in ("better", "worse", "no evidence")
    page = (folder / "runs" / "reviews" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_predictions_stand_beside_the_columns(walked: tuple[Path, list[Done]]) -> None:
    folder, done = walked
    with (folder / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["text", "label", "predicted_label", "confidence"]
    assert len(rows) == 30
    assert {row["predicted_label"] for row in rows} <= {"positive", "negative"}
    spoken = next(one.out for one in done if one.command.startswith("tunewright predict") and "gripping" in one.command)
    assert "A gripping film" in spoken


def test_removed_runs_are_gone_and_the_others_stay(walked: tuple[Path, list[Done]]) -> None:
    folder, _ = walked
    left = {path.name for path in (folder / "runs").iterdir()}
    assert "two-epochs" not in left
    assert {"reviews", "more"} <= left


def test_an_override_in_the_environment_is_the_same_run(walked: tuple[Path, list[Done]]) -> None:
    _, done = walked
    same = [one for one in done if "LR=3e-5" in one.command or "train.lr=3e-5" in one.command]
    reports = {line for one in same for line in one.out.splitlines() if line.startswith("Report:")}
    assert len(same) == 2
    assert len(reports) == 1


def test_recipes_in_the_page_are_valid(tmp_path: Path) -> None:
    found = [block for block in blocks(README) if block.language == "yaml"]
    assert found
    for block in found:
        recipe = tmp_path / "block.yaml"
        recipe.write_text(block.text, encoding="utf-8")
        assert read_request(recipe, (), {}, {}).recipe.name == "reviews"


def test_set_up_lines_name_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = [line for block in blocks(README) if block.language == "sh" for line in block.commands]
    set_up = [line for line in lines if line.startswith(SET_UP)]
    made = [shlex.split(line)[1] for line in set_up if line.startswith("make ")]
    assert made == ["demo", "test"]
    assert set(made) <= targets
    assert ".venv/bin/python -m pip install '.[search,serve]'" in set_up
    assert (REPOSITORY / "pyproject.toml").is_file()


@pytest.mark.parametrize("page", BOTH, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in relative_links(page) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "CONTRIBUTING.md"], ids=str)
def test_links_of_the_other_pages_lead_somewhere(page: Path) -> None:
    assert [target for target in relative_links(page) if not (page.parent / target).exists()] == []


def test_both_languages_show_the_same_results() -> None:
    english, chinese = (_results(page) for page in BOTH)
    dialogues = [_results(page, "dialogues") for page in BOTH]
    assert len(dialogues[0]) == len(dialogues[1]) >= 2
    assert len({str([re.findall(r"\d[\d.,]*", cell) for row in rows for cell in row[1:]]) for rows in dialogues}) == 1
    assert [row[0] for row in english] == [
        "movie reviews (English, MiniLM)",
        "product reviews (Chinese, multilingual-e5)",
        "customers' questions, 150 intents and none of them (English, MiniLM)",
    ]
    assert len(chinese) == len(english)
    numbers = [[re.findall(r"\d[\d.,]*", cell) for row in rows for cell in row[1:]] for rows in (english, chinese)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("page", BOTH, ids=lambda page: page.name)
def test_the_assets_are_those_of_the_catalogue(page: Path) -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| .* \| (.*) \|$", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert list(rows) == [asset.name for asset in catalogue()]
    for asset in catalogue():
        licence = asset.licence.partition(" (")[0]
        assert licence in rows[asset.name], asset.name


@pytest.mark.parametrize("page", BOTH, ids=lambda page: page.name)
def test_the_exit_codes_are_those_of_the_errors(page: Path) -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)}
    kinds = (errors.InputError, errors.GateError, errors.MachineError, errors.Interrupted)
    assert listed == {0, *(kind.exit_code for kind in kinds)}


def _results(page: Path, name: str = "results") -> list[list[str]]:
    between = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert between, f"{page.name} has no results"
    rows = [line for line in between[1].splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
