"""A classifier that refuses: from the recipe to the server, the exported folder, and the program that answers customers."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pages import REPOSITORY
from small_questions import OTHER, write_questions

import tunewright
from tunewright.data.rows import read_rows
from tunewright.deploying import export
from tunewright.maintaining import retrain
from tunewright.pipeline import judge_again
from tunewright.server.limits import Limits
from tunewright.server.listen import listening
from tunewright.server.opening import open_model
from tunewright.server.served import Served
from tunewright.store.registry import Registry

if TYPE_CHECKING:
    from conftest import RunProcess

RECIPE = REPOSITORY / "recipes" / "customer-service.yaml"
SMALL = (
    "train.epochs=50",  # enough that what is refused does not hang on which numbers dropout draws
    "train.batch_size=16",
    "train.dtype=fp32",
    "train.threads=1",
    "train.lr=0.002",
    "train.patience=0",
    "evaluate.out_of_fold=false",
    "evaluate.resamples=200",
    "evaluate.refuse_share=0.1",
    "evaluate.out_of_fold_seconds=12",
)


def go(data: Path, out: Path, model: Path, *overrides: str) -> dict[str, Any]:
    """The recipe on a small file and a tiny model."""
    found: dict[str, Any] = tunewright.run(
        RECIPE, out=out, overrides=(f"data.path={data}", f"model={model}", *SMALL, *overrides)
    )
    return found


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory, tiny_bert_folder: Path) -> Path:
    """A run of the recipe on English questions, some of them out of scope in every split."""
    folder = tmp_path_factory.mktemp("english")
    data = write_questions(folder / "questions.json", "en")
    go(data, folder / "run", tiny_bert_folder)
    return folder / "run"


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory, tiny_bert_folder: Path) -> Path:
    """The same on Chinese questions; none of those out of scope is trained on."""
    folder = tmp_path_factory.mktemp("chinese")
    data = write_questions(folder / "问题.json", "zh", trained=False)
    go(data, folder / "run", tiny_bert_folder, "task.name=classify", "task.out_of_scope=其他")
    return folder / "run"


def read(folder: Path, name: str = "result.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_file_of_pairs_becomes_a_model_that_refuses(language: str, english: Path, chinese: Path) -> None:
    folder, other = english if language == "en" else chinese, OTHER[language]
    result, card = read(folder), read(folder / "model", "tunewright.json")
    rows = (
        {"train": 160, "validation": 80, "test": 80}
        if language == "en"
        else {"train": 120, "validation": 80, "test": 120}
    )
    assert result["data"]["splits"] == rows, "the published splits are kept"
    assert other in card["labels"]
    assert card["options"]["out_of_scope"] == other == result["out_of_scope"]
    assert set(card["thresholds"]) == {other} == set(result["thresholds"])
    assert card["thresholds"][other] == pytest.approx(result["thresholds"][other], abs=1e-5)
    metrics = result["metrics"]
    assert metrics["in_scope_accuracy"]["value"] > 0.6
    assert metrics["in_scope_accuracy"]["num_rows"] == 60
    assert metrics["in_scope_refused"]["value"] <= 0.3
    assert metrics["out_of_scope_auroc"]["value"] > 0.6
    assert metrics["out_of_scope_recall"]["value"] >= 0.05, "also where no such row was trained on"
    assert all(metrics[name]["interval"] for name in metrics if "scope" in name)
    assert all(result["systems"][name]["out_of_scope_auroc"] is not None for name in result["systems"])
    (chosen,) = [one for one in result["choices"] if one["path"] == "evaluate.decision_thresholds"]
    assert "at most 10 % of the validation rows in scope" in chosen["reason"]
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "What is refused" in page
    assert "A text is refused, that is answered" in page
    assert "at most 10 % of the validation rows in scope" in page


def test_the_answers_are_the_same_wherever_the_model_is_asked(
    english: Path, chinese: Path, tmp_path: Path, run_process: RunProcess
) -> None:
    texts = ["a gripping film", "浪费时间", "the movie was great", "我要退款，谢谢", "who won the match"]
    programs, expected = [], []
    for run, other in ((english, "oos"), (chinese, "其他")):
        out = tmp_path / other
        assert export(run, out)["certificate"]["passed"]
        predicted = [one["label"] for one in tunewright.predict(run, texts)]
        assert other in predicted
        (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text("utf-8"), re.DOTALL)
        programs.append(f"import os; os.chdir({str(out)!r})\n{code}")
        expected.append(predicted[:2])
        limit = read(run / "model", "tunewright.json")["thresholds"][other]
        for what in (run, out):
            with listening(Served(open_model(str(what))), Limits.Config()) as address:
                answer = httpx2.post(f"{address}/v1/classify", json={"input": texts}).json()
            assert [one["label"] for one in answer["results"]] == predicted
            assert (answer["thresholds"], answer["out_of_scope"]) == ({other: limit}, other)
            for one in answer["results"]:
                inside = {label: value for label, value in one["probabilities"].items() if label != other}
                best = max(inside, key=inside.__getitem__)
                is_refused = inside[best] < limit or one["probabilities"][other] > inside[best]
                assert one["label"] == (other if is_refused else best), (
                    "a client can check it by the numbers it is given"
                )
    done = run_process(sys.executable, "-W", "error", "-c", "\n".join(programs))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line.replace("'", '"')) for line in done.stdout.splitlines()] == expected


def test_customers_are_answered_or_handed_over(
    chinese: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(REPOSITORY / "examples" / "customer_service.py"))
    replies = tmp_path / "replies.json"
    replies.write_text(json.dumps({"物流": "包裹明天送到。", "退款": "三天内退款。"}, ensure_ascii=False), "utf-8")
    questions = ["请问我的包裹到哪里了，急", "你好，我要退款，谢谢", "我忘记密码了", "今天天气怎么样", "five", "six"]
    with listening(Served(open_model(str(chinese))), Limits.Config()) as address:
        asked = ["--address", address, "--replies", str(replies), "--rows", "5", *questions]
        said: list[str] = example["main"](asked)
        with pytest.raises(SystemExit, match="allowed: at most"):
            example["main"](["--address", address, "--rows", "99999", *["x"] * 65])
    labels = [one["label"] for one in tunewright.predict(chinese, questions[:5])]
    assert labels[:2] == ["物流", "退款"]
    assert said[:2] == ["包裹明天送到。", "三天内退款。"]
    assert said[2] == example["HANDED_OVER_IN_CHINESE"], "there is no reply in the table"
    assert said[4] in (example["HANDED_OVER"], "包裹明天送到。", "三天内退款。")
    assert capsys.readouterr().out.count("customer:") == 5


def test_the_limit_can_be_switched_off_and_set_again_without_training(english: Path) -> None:
    before = read(english)
    off = judge_again(english, overrides=("evaluate.thresholds=off",))
    assert off["thresholds"] == {}
    assert off["metrics"]["in_scope_refused"]["value"] <= before["metrics"]["in_scope_refused"]["value"]
    assert off["metrics"]["out_of_scope_recall"]["value"] <= before["metrics"]["out_of_scope_recall"]["value"]
    assert "There is no limit on the others." in Path(off["report"]).read_text(encoding="utf-8")
    strict = judge_again(english, overrides=("evaluate.thresholds=auto", "evaluate.refuse_share=0.3"))
    assert strict["thresholds"]["oos"] > before["thresholds"]["oos"]
    again = judge_again(
        english,
        overrides=(
            "evaluate.refuse_share=0.1",
            "evaluate.out_of_fold_seconds=12",
        ),
    )
    assert again["metrics"] == before["metrics"]


def test_few_rows_are_judged_out_of_fold_with_limits(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_questions(tmp_path / "questions.json", "en", trained=False)
    result = go(data, tmp_path / "run", tiny_bert_folder, "evaluate.out_of_fold=true", "train.epochs=6")
    assert result["judged_on"] == "out-of-fold"
    assert "for each fold on the rows of the others" in result["verdict"]["design"]
    assert 0 < result["metrics"]["in_scope_refused"]["value"] < 0.5
    assert "judged with limits chosen on the other folds" in Path(result["report"]).read_text(encoding="utf-8")


def test_a_label_that_no_row_has_is_a_warning_with_the_nearest_name(tmp_path: Path, tiny_bert_folder: Path) -> None:
    data = write_questions(tmp_path / "questions.json", "en")
    result = go(data, tmp_path / "run", tiny_bert_folder, "task.out_of_scope=ooss", "train.epochs=1")
    (finding,) = [one for one in result["data"]["findings"] if one["code"] == "label_without_rows"]
    assert finding["severity"] == "warning"
    assert "did you mean oos?" in finding["message"]
    assert result["metrics"]["out_of_scope_recall"]["value"] is None
    assert "what refusing gains is not known" in Path(result["report"]).read_text(encoding="utf-8")


def test_more_rows_are_learnt_and_the_rest_is_still_refused(chinese: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry", create=True) as shelf:
        added = shelf.add("service", chinese, accept_verdict=True)
        shelf.promote("service", added.number)
    more = [[f"{text}第{n}次", label] for n in range(3) for text, label in (("我要退货", "退款"), ("快递丢了", "物流"))]
    file = tmp_path / "more.json"
    file.write_text(json.dumps({"train": more}, ensure_ascii=False), encoding="utf-8")
    found = retrain("service", file, registry=tmp_path / "registry", out=tmp_path / "run")
    card = read(Path(found["run"]) / "model", "tunewright.json")
    assert card["options"]["out_of_scope"] == "其他"
    assert set(card["thresholds"]) == {"其他"}
    assert found["decision"]["outcome"] in ("keep", "promote")
    assert found["decision"]["num_rows"] > 0


def test_the_published_file_is_read_whole(shared_data: Path) -> None:
    columns, records, file = read_rows(str(shared_data / "en" / "clinc150" / "data_small.json"))
    rows = [record.fields for record in records]
    assert (columns, file.format) == (("text", "label", "split"), "pairs")
    assert Counter((row["split"], row["label"] == "oos") for row in rows) == {
        ("train", False): 7500, ("train", True): 100, ("validation", False): 3000, ("validation", True): 100,
        ("test", False): 4500, ("test", True): 1000,
    }  # fmt: skip
    assert len({row["label"] for row in rows}) == 151
