"""The second thread on a tiny model: from dialogues to a model that talks, judged, saved and loaded by others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tunewright
from tunewright.chatting import open_talk, reply
from tunewright.errors import GateError, InputError
from tunewright.types import Sampling

COLOURS = ("red", "green", "blue", "grey", "红色", "绿色")
THINGS = ("house", "car", "tree", "book", "房子", "书")


def dialogues(num: int = 90) -> list[dict[str, Any]]:
    """Questions whose answers can be learnt, in two languages, some with two turns."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num):
        thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
        messages = [
            {"role": "user", "content": f"What colour is {thing} {number}?"},
            {"role": "assistant", "content": f"It is {colour}."},
        ]
        if number % 3 == 0:
            messages += [
                {"role": "user", "content": "再说一遍"},
                {"role": "assistant", "content": f"It is {colour}, I said."},
            ]
        rows.append({"messages": messages})
    return rows


QUICK = {"epochs": 2, "batch_size": 8, "lr": 5e-3, "dtype": "fp32", "threads": 1}
JUDGED = {"resamples": 200, "generated_rows": 6, "max_new_tokens": 24}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path) -> dict[str, Any]:
    """One finished run."""
    out = tmp_path_factory.mktemp("chat") / "run"
    return tunewright.run(
        dialogues(), out=out, model=str(tiny_llama_folder), train=QUICK, evaluate=JUDGED, report={"rows": "text"}
    )


def test_a_run_ends_with_a_verdict_and_an_x_ray(tuned: dict[str, Any]) -> None:
    assert tuned["task"] == "chat"
    assert tuned["verdict"]["outcome"] in ("better", "worse", "no evidence")
    assert {each["against"] for each in tuned["verdict"]["comparisons"]} >= {"untouched_base", "ngram"}
    assert tuned["ledger"]["total"] == 90
    roles = {each["role"]: each for each in tuned["xray"]["roles"]}
    assert roles["assistant"]["supervised"] > 0 == roles["user"]["supervised"]
    assert tuned["xray"]["unsupervised_ends"] == 0
    assert tuned["next_commands"][0] == f"tunewright chat {tuned['run']} --base"
    assert tuned["curves"]["evaluations"][-1]["metric"] == "nll_per_token"
    assert tuned["curves"]["evaluations"][-1]["value"] < tuned["curves"]["evaluations"][0]["value"]
    page = Path(tuned["report"]).read_text(encoding="utf-8")
    assert "再说一遍" in page


def test_texts_of_rows_stay_out_of_a_report_that_shows_none(tmp_path: Path, tiny_llama_folder: Path) -> None:
    found = tunewright.run(
        dialogues(), out=tmp_path / "run", model=str(tiny_llama_folder), train={**QUICK, "epochs": 1},
        evaluate={**JUDGED, "generated_rows": 2}, report={"rows": "none"},
    )  # fmt: skip
    assert "再说一遍" not in json.dumps(found, ensure_ascii=False)
    assert "再说一遍" not in Path(found["report"]).read_text(encoding="utf-8")


def test_the_tuned_model_is_a_stock_one_that_talks(tuned: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(tuned["run"]) / "model"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    model, loading = loaded
    assert not loading["missing_keys"]
    asked = [{"role": "user", "content": "What colour is car 3?"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    wanted = model.generate(**ids, max_new_tokens=16, do_sample=False)[0][ids["input_ids"].shape[1] :]
    talk = open_talk(tuned["run"], sampling=Sampling(max_tokens=16))
    try:
        assert reply(talk, [asked[0]["content"]])[0]["tuned"] == tokenizer.decode(wanted, skip_special_tokens=True)
    finally:
        talk.close()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft's own
def test_an_adapter_is_tuned_folded_and_kept(tmp_path: Path, tiny_llama_folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def tune() -> dict[str, Any]:
        return tunewright.run(
            dialogues(60), out=tmp_path / "run", model=str(tiny_llama_folder), method={"name": "lora", "rank": 4},
            train=QUICK, until="train",
        )  # fmt: skip

    run = Path(tune()["run"])
    (run / "result.json").unlink()  # a run that ended between its training and its end
    assert {each["metric"] for each in tune()["curves"]["evaluations"]} == {"nll_per_token"}
    base: Any = AutoModelForCausalLM.from_pretrained(tiny_llama_folder, dtype=torch.float32)
    adapted: Any = PeftModel.from_pretrained(base, run / "adapter")
    folded: Any = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    ids = torch.tensor([[5, 9, 17, 4]])
    with torch.no_grad():
        assert torch.allclose(adapted.eval()(ids).logits, folded.eval()(ids).logits, atol=1e-4)


def test_answers_that_do_not_fit_stop_the_run_unless_it_is_allowed(tmp_path: Path, tiny_llama_folder: Path) -> None:
    options: dict[str, Any] = {"model": str(tiny_llama_folder), "encode": {"max_length": 6}, "until": "prepare"}
    with pytest.raises(GateError) as stopped:
        tunewright.run(dialogues(40), out=tmp_path / "run", **options)
    assert stopped.value.given == "no_supervision"
    found = tunewright.run(dialogues(40), out=tmp_path / "run", data={"allow": ["no_supervision"]}, **options)
    assert found["xray"]["without_supervision"] == 40


def test_an_encoder_cannot_learn_to_talk(tmp_path: Path, tiny_bert_folder: Path) -> None:
    with pytest.raises(InputError, match="does not write text"):
        tunewright.run(dialogues(40), out=tmp_path / "run", model=str(tiny_bert_folder), train=QUICK)
