"""A search over dialogues with an adapter: judged by nats per token on the validation rows alone, in two languages."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from pages import run_words
from test_chat import dialogues

import tunewright
from tunewright.errors import InputError, Interrupted
from tunewright.pipeline import Watcher
from tunewright.types.data import read_arrow

QUICK: dict[str, Any] = {
    "method": "lora",
    "train": {"epochs": 2, "batch_size": 8, "dtype": "fp32", "threads": 1},
    "evaluate": {"resamples": 200, "generated_rows": 4, "max_new_tokens": 16},
}
RECIPE = """
version: 1
name: colours
data: {data}
model: {model}
task: chat
method: {{name: lora, rank: 6}}
train: {{epochs: 2, dtype: fp32, threads: 1}}
evaluate: {{resamples: 200, generated_rows: 4, max_new_tokens: 16}}
tune:
  trials: 4
  strategy: {{name: tpe, startup: 2}}
  pruner: {{name: median, startup: 1}}
"""


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def table(result: dict[str, Any]) -> list[tuple[object, ...]]:
    """What of the trials must not depend on when and how often the search was stopped."""
    return [
        (t["number"], t["parameters"], t["state"], t["value"], t["validations"]) for t in result["search"]["trials"]
    ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path) -> dict[str, Any]:
    """One finished search over a recipe, on the command line."""
    folder = tmp_path_factory.mktemp("search")
    data = write_rows(folder / "对话.jsonl", dialogues())
    recipe = folder / "colours.yaml"
    recipe.write_text(RECIPE.format(data=json.dumps(str(data)), model=json.dumps(str(tiny_llama_folder))), "utf-8")
    done = run_words(["tune", str(recipe), "--out", str(folder / "search"), "--json"])
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_task_and_method_propose_what_varies(searched: dict[str, Any]) -> None:
    space = searched["search"]["space"]
    assert list(space) == [
        "train.lr", "train.epochs", "train.batch_size", "train.optimizer.weight_decay", "method.rank", "method.dropout",
    ]  # fmt: skip
    assert space["method.rank"] == [4, 6, 8, 16, 32, 64]
    (reason,) = [choice["reason"] for choice in searched["choices"] if choice["path"] == "tune.space"]
    assert reason == "what the task chat and the method lora propose, around the plan's values"
    assert len({trial["parameters"]["method.rank"] for trial in searched["search"]["trials"]}) > 1


def test_fewer_nats_per_token_win_and_worse_trials_are_pruned(searched: dict[str, Any]) -> None:
    found, trials = searched["search"], searched["search"]["trials"]
    assert (found["metric"], found["higher_is_better"], len(trials)) == ("nll_per_token", False, 4)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    assert all(trial["value"] == min(trial["validations"].values()) for trial in complete)
    assert found["best"]["value"] == min(trial["value"] for trial in complete)
    assert {trial["state"] for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        before = [each["validations"] for each in complete if each["number"] < trial["number"]]
        best, stops = float("inf"), []
        for number, value in trial["validations"].items():
            best = min(best, value)
            others = [seen[number] for seen in before if number in seen]
            stops.append(bool(others) and best > median(others))
        assert stops == [*[False] * (len(stops) - 1), trial["state"] == "pruned"]


def test_the_value_is_what_the_stock_model_gives_the_validation_rows(searched: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM

    best = Path(searched["run"]) / "trials" / f"{searched['search']['best']['number']:03d}"
    model: Any = AutoModelForCausalLM.from_pretrained(best / "model", dtype=torch.float32)
    rows = read_arrow(best / "encoded" / "validation.arrow")
    nll = num_tokens = 0.0
    for ids, weights in zip(rows["source"].to_pylist(), rows["target"].to_pylist(), strict=True):
        with torch.no_grad():
            log_p = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        chosen = log_p.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        nll -= float(chosen @ torch.tensor(weights[1:]))
        num_tokens += sum(weights)
    assert nll / num_tokens == pytest.approx(searched["search"]["best"]["value"], abs=1e-4)


def test_the_weights_of_all_but_the_best_are_gone(searched: dict[str, Any]) -> None:
    kept = {f"{searched['search']['best']['number']:03d}"}
    for stage in ("model", "adapter"):
        assert {path.parent.name for path in Path(searched["run"], "trials").glob(f"*/{stage}")} == kept
    assert not list(Path(searched["run"], "trials").glob("*/checkpoints"))


def test_the_winner_is_trained_again_and_judged_on_rows_that_no_trial_was_judged_on(
    searched: dict[str, Any], tmp_path: Path
) -> None:
    best, folder = searched["search"]["best"], Path(searched["run"])
    done = run_words([*shlex.split(best["command"])[1:], "--out", str(tmp_path / "winner"), "--json"])
    assert done.code == 0, done.err
    won = json.loads(done.out)
    assert won["verdict"]["outcome"] in ("better", "worse", "no evidence")
    assert won["curves"]["best_value"] == best["value"]
    values = won["config"]["values"]["method"] | won["config"]["values"]["train"]
    assert values["rank"] == best["parameters"]["method.rank"]
    assert values["lr"] == best["parameters"]["train.lr"]
    for split in ("train", "validation", "test"):
        same = [
            Path(run, "data", f"{split}.arrow").read_bytes() for run in (won["run"], folder / "trials" / "prepared")
        ]
        assert same[0] == same[1]

    assert {"metrics", "verdict"} <= won.keys(), "where rows are judged, it says so"
    runs = [path for path in (folder / "trials").iterdir() if (path / "result.json").is_file()]
    assert len(runs) > sum(trial["state"] == "complete" for trial in searched["search"]["trials"])
    for run in runs:
        assert not {"metrics", "verdict"} & json.loads((run / "result.json").read_text(encoding="utf-8")).keys()


def test_other_answers_in_the_test_rows_change_nothing_in_a_search(tmp_path: Path, tiny_llama_folder: Path) -> None:
    rows = dialogues(80)
    held_out, found = rows[60:], []
    for name in ("as they are", "backwards"):
        if name == "backwards":
            held_out = [
                {"messages": [dict(turn, content=turn["content"][::-1]) if turn["role"] == "assistant" else turn
                              for turn in row["messages"]]}
                for row in held_out
            ]  # fmt: skip
        data = {"path": str(write_rows(tmp_path / f"{name}.jsonl", rows[:60]))}
        data["test_path"] = str(write_rows(tmp_path / f"{name} test.jsonl", held_out))
        options = {"data": data, "model": str(tiny_llama_folder), "tune": {"trials": 2, "strategy": "random"}, **QUICK}
        found.append(tunewright.tune(data["path"], out=tmp_path / name, **options))
    tests = [read_arrow(tmp_path / each["id"] / "trials" / "prepared" / "data" / "test.arrow") for each in found]
    assert tests[0].num_rows == tests[1].num_rows == 20
    assert not tests[0]["messages"].equals(tests[1]["messages"])
    assert table(found[0]) == table(found[1])


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, tiny_llama_folder: Path) -> None:
    data = write_rows(tmp_path / "对话.jsonl", dialogues(60))
    tuned = {"strategy": "random", "pruner": {"name": "halving"}, "trials": 3}
    options = {"model": str(tiny_llama_folder), "tune": tuned, **QUICK}
    whole = tunewright.tune(data, out=tmp_path / "whole", **options)
    assert {trial["state"] for trial in whole["search"]["trials"]} == {"complete", "pruned"}
    steps = stops = 0

    def asked() -> bool:
        nonlocal steps
        steps += 1
        return steps % 13 == 0

    while True:
        try:
            again = tunewright.tune(data, out=tmp_path / "stopped", watcher=Watcher(asked_to_stop=asked), **options)
            break
        except Interrupted:
            stops += 1
    assert stops >= 2
    assert table(again) == table(whole)


@pytest.mark.parametrize("path", ["encode.max_length", "task.learn", "model.name"])
def test_what_decides_the_tokens_is_not_searched(path: str, tmp_path: Path, tiny_llama_folder: Path) -> None:
    data = write_rows(tmp_path / "对话.jsonl", dialogues(40))
    values = {"encode.max_length": [64, 128], "task.learn": ["all", "last"], "model.name": ["a", "b"]}
    tuned = {"trials": 2, "space": {path: values[path]}}
    with pytest.raises(InputError, match="no such option to search") as refused:
        tunewright.tune(data, out=tmp_path / "search", model=str(tiny_llama_folder), tune=tuned, **QUICK)
    assert "never searched" in str(refused.value)
