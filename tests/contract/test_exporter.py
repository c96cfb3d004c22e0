"""Every file of ``deploy/exporter`` is an exporter: what it writes is loaded as its users load it, and answers the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright import extensions
from tunewright.deploy.card import Facts, model_card
from tunewright.deploy.certificate import Certify, certify
from tunewright.deploying import _Chat
from tunewright.errors import InputError
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate
from tunewright.seams import Exporter
from tunewright.store.artifact import commit_artifact

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's older name for it

FAMILY = "deploy.exporter"
CARD = {"task": "chat", "base": "tiny", "licence": "MIT", "max_length": None}
DIALOGUES: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "你好 👋"}],
    [
        {"role": "user", "content": "天气？"},
        {"role": "assistant", "content": "sunny"},
        {"role": "user", "content": "ok"},
    ],
]


@pytest.fixture
def exporter(name: str) -> Exporter:
    made: Exporter = extensions.load(FAMILY, name)()
    return made


@pytest.fixture(scope="module")
def chat_run(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model is a chat model with an adapter: the adapter folded in under ``model``, alone under ``adapter``."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    run = tmp_path_factory.mktemp("chat-run")
    tokenizer: Any = load_tokenizer(tiny_llama_folder)
    tokenizer.chat_template = ChatTemplate.of(tiny_llama_folder, tokenizer).source
    tokenizer.save_pretrained(run / "model")
    base: Any = LlamaForCausalLM.from_pretrained(tiny_llama_folder, dtype=torch.float32)
    adapted: Any = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(run / "adapter")
    adapted.merge_and_unload().save_pretrained(run / "model")
    (run / "model" / "tunewright.json").write_text(json.dumps(CARD), encoding="utf-8")
    return run


@pytest.mark.parametrize("name", extensions.names(FAMILY))
def test_a_chat_model_is_handed_over(
    name: str, exporter: Exporter, chat_run: Path, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    exporter.check(CARD, chat_run)
    written = commit_artifact(tmp_path / "out", "key", lambda draft: exporter.write(chat_run, draft)).folder
    if name == "transformers":
        ends = json.loads((written / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
        assert load_tokenizer(tiny_llama_folder).eos_token_id in ends
    after = exporter.load(written, tiny_llama_folder, CARD)
    found = certify(
        Certify.Config(), DIALOGUES, before=_Chat(chat_run / "model"), after=after, hop=name, num_available=2
    )
    assert found.is_passed
    assert found.num_positions == sum(len(after.encode(row)) for row in DIALOGUES)
    untouched = _Chat(_with_tokenizer_of(chat_run / "model", tiny_llama_folder, tmp_path))
    ids = after.encode(DIALOGUES[0])
    assert abs(untouched.logits(ids) - after.logits(ids)).max() > 0.01, "the base alone would not pass"


@pytest.mark.parametrize("name", extensions.names(FAMILY))
def test_a_chat_model_without_its_template_is_refused(
    name: str, exporter: Exporter, chat_run: Path, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(chat_run, tmp_path / "run"))
    (run / "model" / "chat_template.jinja").unlink()
    written = commit_artifact(tmp_path / "out", "key", lambda draft: exporter.write(run, draft)).folder
    with pytest.raises(InputError, match="no chat template"):
        exporter.load(written, tiny_llama_folder, CARD)


def _with_tokenizer_of(tuned: Path, base: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tuned, tmp_path / "untouched"))
    shutil.copyfile(base / "model.safetensors", folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", extensions.names(FAMILY))
def test_a_classifier_that_no_stock_class_computes_is_refused(name: str, exporter: Exporter, chat_run: Path) -> None:
    card = {
        "task": "classify",
        "stock_class": None,
        "architecture": "bert",
        "options": {"pooling": "mean"},
        "labels": ["no", "yes"],
    }
    with pytest.raises(InputError) as caught:
        exporter.check(card, chat_run)
    assert "pooling=mean" in str(caught.value.given)
    assert "tunewright serve" in caught.value.hint


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", extensions.names(FAMILY))
def test_the_card_of_a_chat_model_is_whole(name: str, language: str) -> None:
    certificate = {
        "num_rows": 2, "num_available": 2, "num_positions": 40, "hop": "a -> b", "rows_with_equal_tokens": 2,
        "largest_gap": 0.0, "limit": 1e-4, "top1_agreement": 1.0, "precision": "fp32",
    }  # fmt: skip
    result = {"id": "<b>run|`x`</b>", "data": {"splits": {"train": 5}}, "ledger": {"total": 5}}
    facts = Facts(result, CARD, certificate, name, terms="https://example.org/terms", weights={"w": "0" * 64})
    card = model_card(facts, language)
    assert card.startswith("---\nlibrary_name: ")
    assert "<b>" not in card
    for part in ("https://example.org/terms", "MIT", "apply_chat_template", "0" * 64, "40"):
        assert part in card
    assert ("PeftModel" in card) is (name == "adapter")


@pytest.mark.parametrize(
    ("language", "partly", "open_"),
    [
        (
            "en",
            "Better than: untouched base. Not shown better than: base shown examples.",
            "No evidence of a difference.",
        ),
        ("zh", "优于未微调的基座；未能证明优于附示例的基座。", "没有证据表明存在差异。"),
    ],
)
def test_a_card_says_what_was_beaten_and_what_not(language: str, partly: str, open_: str) -> None:
    certificate = {
        "num_rows": 2, "num_available": 2, "num_positions": 40, "hop": "a -> b", "rows_with_equal_tokens": 2,
        "largest_gap": 0.0, "limit": 1e-4, "top1_agreement": 1.0, "precision": "fp32",
    }  # fmt: skip
    numbers = {"tuned": 41.0, "opponent": 48.0, "difference": -7.0, "interval": [-9.0, -5.0], "p_holm": 0.01}
    shared = {**numbers, "required": True, "smallest_detectable": 3.0}
    rivals = [{"against": "untouched_base", "p": 0.001, **shared}, {"against": "few_shot", "p": 0.2, **shared}]
    verdict = {"outcome": "no evidence", "metric": "nll_per_dialogue", "sentence": "", "comparisons": rivals}
    result = {"id": "chat", "data": {"splits": {"train": 5}}, "ledger": {"total": 5}, "verdict": verdict}
    facts = Facts(result, CARD, certificate, "transformers", terms="", weights={"w": "0" * 64})
    assert f"**{partly}**" in model_card(facts, language)
    rivals[0]["p"] = 0.3
    assert f"**{open_}**" in model_card(facts, language)
