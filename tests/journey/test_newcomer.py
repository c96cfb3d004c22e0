"""What a newcomer types wrong is answered with four parts, in English and in Chinese, and never with a traceback."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from pages import run_words
from small_reviews import chinese_sentences, sentences, write_csv

from tunewright.store.run import RunFolder

ENGLISH, CHINESE = ("text", "label"), ("评论", "标签")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good and bad files in both languages, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "en.csv", ENGLISH, sentences(40))
    write_csv(tmp_path / "评价.csv", CHINESE, chinese_sentences(40))
    write_csv(tmp_path / "header.csv", ENGLISH, [])
    write_csv(tmp_path / "表头.csv", CHINESE, [])
    write_csv(tmp_path / "one.csv", ENGLISH, [(text, "good") for text, _ in sentences(40)])
    write_csv(tmp_path / "一类.csv", CHINESE, [(text, "好评") for text, _ in chinese_sentences(40)])
    for name in ("empty.csv", "空.csv"):
        (tmp_path / name).touch()
    mixed = (tmp_path / "评价.csv").read_bytes()
    (tmp_path / "mixed.csv").write_bytes(mixed + mixed.decode().partition("\n")[2].encode("gb18030"))
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data" / "训练.csv", CHINESE, chinese_sentences(40))
    (tmp_path / "notes").mkdir()
    (tmp_path / "runs" / "support").mkdir(parents=True)
    (tmp_path / "runs" / "客服").mkdir()
    (tmp_path / "notes" / "笔记.txt").write_text("记", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        ("run nothing.csv", "there is no such file", "data.path=FILE"),
        ("run en.cvs", "there is no such file", "en.csv"),
        ("run 评介.csv", "there is no such file", "评价.csv"),
        ("run 没有/文件.csv", "folder of this file does not exist", "ls ."),
        ("run empty.csv", "there is no row", "data.path=FILE"),
        ("run 空.csv", "there is no row", "data.path=FILE"),
        ("run header.csv", "there is no row", "data.path=FILE"),
        ("run 表头.csv", "there is no row", "data.path=FILE"),
        ("run one.csv", "same label", "data.columns="),
        ("run 一类.csv", "same label", "data.columns="),
        ("run mixed.csv", "UTF-8 up to this line", "UTF-8"),
        ("run data", "this is a folder", "data.path=data/训练.csv"),
        ("run /dev/null", "not a plain file", "data.path=FILE"),
        ("run en.csv --out notes", "holds other files", "--out notes-2"),
        ("run en.csv --out .", "holds other files", "--out /"),
        ("run en.csv --out en.csv", "must be a folder", "--out en.csv-2"),
        ("run en.csv train.lr", "neither the recipe nor an option", "tunewright run --help"),
        ("run en.csv =3", "sets one option", "train.lr=VALUE"),
        ("run en.csv lr=3", "there is no option", "train.lr"),
        ("run en.csv epochs=2", "there is no option `epochs`", "did you mean train.epochs?"),
        ("run 评价.csv --epochs 2", "there is no option `epochs`", "did you mean train.epochs?"),
        ("run en.csv train.lr=fast", "wrong kind", "train.lr=5e-05"),
        ("run 评价.csv data.columns.text=评轮", "no column of this name", "评论"),
        ("run none.yaml", "no such recipe", "tunewright init"),
        ("run", "no value for `RECIPE`", "tunewright run --help"),
        ("rnu en.csv", 'Unknown command "rnu".', 'did you mean "run"? tunewright --help'),
        ("predict r --outt x", "Unknown option: --outt.", "did you mean --output? tunewright predict --help"),
        ("训练 en.csv", "Unknown command", "tunewright --help"),
        ("predict", "no value for `run`", "tunewright predict --help"),
        ("predict 不存在 好看", "cannot be the id", "tunewright runs list"),
        ("evaluate nothing", "no such run", "tunewright runs list"),
        ("serve runs/suport", "no run in this folder", "did you mean runs/support?"),
        ("serve runs/客户", "no run in this folder", "did you mean runs/客服?"),
        ("predict runs/suport x", "no run in this folder", "did you mean runs/support?"),
        ("export runs/suport -o x", "no run in this folder", "did you mean runs/support?"),
        ("registry add a runs/suport", "no run in this folder", "did you mean runs/support?"),
        ("run en.csv model=runs/suport", "no run in this folder", "did you mean runs/support?"),
        ("runs compare", "no run is named", "tunewright runs list"),
        ("runs remove", "no run is named", "tunewright runs list"),
        ("assets fetch", "nothing to fetch", "tunewright assets list"),
    ],
)
def test_a_mistake_is_answered_in_four_parts(words: str, problem: str, hint: str, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = run_words([*words.split(" "), "--json"])
    said = json.loads(done.out)
    assert done.code == said["exit_code"] != 0
    assert problem in said["problem"]
    assert hint in said["hint"]
    assert said["where"]
    assert said["allowed"]
    assert said["given"] is not None
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("words", ["registry add a RUN", "export RUN -o x", "report RUN", "evaluate RUN", "replay RUN"])
def test_a_run_that_is_not_judged_yet_says_so_everywhere(words: str, folder: Path) -> None:
    run = RunFolder.open(
        folder / "runs" / "评价", create=True, identity="a", command=["tunewright", "train", "评价.csv", "--out", "x y"]
    )
    run.commit_stage("model", "a", lambda draft: draft.write_bytes("model.safetensors", b"weights"))
    done = run_words([str(run.folder) if word == "RUN" else word for word in words.split(" ")] + ["--json"])
    said = json.loads(done.out)
    assert (done.code, said["problem"]) == (2, "this run is tuned, but not judged yet")
    assert said["hint"] == "tunewright run '评价.csv' --out 'x y'"


@pytest.mark.parametrize("file", ["header.csv", "表头.csv", "empty.csv", "空.csv"])
def test_nothing_to_predict_is_a_mistake_too(file: str, folder: Path) -> None:
    RunFolder.open(folder / "runs" / "done", create=True)
    done = run_words(["predict", "runs/done", file, "-o", "answers.csv", "--json"])
    said = json.loads(done.out)
    assert (done.code, said["problem"], said["where"]) == (2, "there is no row in this file", file)
    assert not (folder / "answers.csv").exists()


def test_a_port_in_use_is_told_before_a_model_is_looked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_words(["serve", "no-such-model", "--port", port, "--json"])
    said = json.loads(done.out)
    assert (done.code, said["problem"]) == (2, "this address cannot be listened on")
    assert port in said["given"]


def test_a_wrong_option_is_answered_with_the_guess_and_an_example() -> None:
    said = json.loads(run_words(["serve", "r", "--prt", "3", "--json"]).out)
    assert (said["problem"], said["hint"]) == ("Unknown option: --prt.", "did you mean --port? tunewright serve --help")
    assert said["allowed"].startswith("for example: tunewright serve ")


def test_the_help_of_predict_names_both_kinds_of_answers() -> None:
    said = " ".join(run_words(["predict", "--help"]).out.split())
    assert "with labels, or with text as a chat model does" in said


def test_a_file_without_permission_says_what_to_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr("tunewright.data.files.fingerprint", refuse)
    said = json.loads(run_words(["run", "评价.csv", "--json"]).out)
    assert (said["problem"], said["given"], said["hint"]) == (
        "this file may not be read",
        "评价.csv",
        "chmod u+r '评价.csv'",
    )


@pytest.mark.parametrize(("file", "header", "word"), [("big.csv", ENGLISH, "x"), ("大.csv", CHINESE, "很")])
def test_a_huge_row_is_left_out_and_counted(
    file: str, header: tuple[str, str], word: str, folder: Path, tiny_bert_folder: Path
) -> None:
    rows = sentences(40) if word == "x" else chinese_sentences(40)
    write_csv(folder / file, header, [*rows, (word * 2_000_000, rows[0][1])])
    done = run_words(["prepare", file, f"model={tiny_bert_folder}", "--json"])
    assert json.loads(done.out)["ledger"]["rejected"] == 1


def test_an_asset_is_where_a_person_can_use_it(movie_reviews_file: Path, minilm_folder: Path) -> None:
    """A data set's file can be given to `run`, a model's folder to `model=`; --json has the folder of both."""
    assert run_words(["assets", "where", "movie-reviews"]).out.strip() == str(movie_reviews_file)
    assert run_words(["assets", "where", "minilm-l6"]).out.strip() == str(minilm_folder)
    assert json.loads(run_words(["assets", "fetch", "movie-reviews", "minilm-l6", "--json"]).out) == {
        "movie-reviews": {"path": str(movie_reviews_file), "folder": str(movie_reviews_file.parent)},
        "minilm-l6": {"path": str(minilm_folder), "folder": str(minilm_folder)},
    }


def test_the_help_of_replay_says_where_it_goes() -> None:
    said = " ".join(run_words(["replay", "--help"]).out.replace("│", " ").split())
    assert "`replay` in the run's own folder" in said


def test_the_summary_says_the_outcome_once_and_counts_in_words(folder: Path, tiny_bert_folder: Path) -> None:
    options = [f"model={tiny_bert_folder}", "train.epochs=1", "train.threads=1", "evaluate.out_of_fold=false"]
    done = run_words(["run", "评价.csv", *options, "evaluate.resamples=200", "--out", "run"])
    assert done.code == 0, done.err
    for said in (done, run_words(["evaluate", "run"]), run_words(["report", "run"])):
        assert said.out.lower().count("no evidence") + said.out.lower().count("better") <= 1 + ("`better`" in said.out)
    choices = " ".join(done.err.split())
    assert "task.separator = '' each cell is one label" in choices
    assert "evaluate.baselines = majority, tfidf_lr, nb_svm, untouched_base" in choices
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    for text in (done.out, done.err, page):
        assert "('" not in text
        for plural in ("1 epochs", "1 rows", "1 threads", "1 updates", "1 evaluations", "1 tokens", "1 labels"):
            assert f" {plural}" not in text
