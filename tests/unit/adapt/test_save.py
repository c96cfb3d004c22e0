"""What is saved holds no claim that is not true of the tuned model, and what is loaded is what was saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunewright.adapt.attach import attach_head, read_pooler
from tunewright.adapt.classifier import Classifier
from tunewright.adapt.save import Tuned, load_model, save_model
from tunewright.adapt.task.classify import Classify
from tunewright.errors import InputError
from tunewright.infer.card import CARD
from tunewright.infer.load import load_tokenizer, tokenize
from tunewright.infer.predict import predict_logits
from tunewright.store.artifact import commit_artifact
from tunewright.types import Base

TEXTS = ["a good film", "这部电影很好看，推荐给大家。", "bad"]


def task(labels: tuple[str, ...] = ("bad", "好"), *, multi_label: bool = False, **options: Any) -> Classify:
    return Classify(Classify.Config(**options)).with_labels(labels, multi_label=multi_label)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(module: torch.nn.Module, task: Classify, base: Base, **card: object) -> Path:
        folder = tmp_path / "saved" / base.name
        card = {"max_length": 64, "thresholds": {}, **card}
        commit_artifact(folder, "key", lambda draft: save_model(draft, module, task, base, card))
        return folder

    return save


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def logits_of(module: torch.nn.Module, folder: Path) -> Any:
    return predict_logits(module, tokenize(load_tokenizer(folder), TEXTS, 64))


@pytest.mark.parametrize(
    "options",
    [{}, {"pooling": "mean"}, {"pooling": "last", "activation": "gelu"}, {"output": "sigmoid"}, {"dropout": 0.4}],
)
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_every_head_comes_back_with_its_bits(
    name: str, options: dict[str, Any], save: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    base: Base = request.getfixturevalue(name)
    wanted = task(**options)
    module = wanted.attach(base, seed=1)
    folder = save(module, wanted, base, thresholds={"好": 0.3}, step=7)
    tuned: Tuned = load_model(folder)
    assert np.array_equal(logits_of(tuned.module, folder), logits_of(module, base.folder))
    assert tuned.task.config == wanted.config
    assert (tuned.max_length, tuned.thresholds, tuned.card["step"]) == (64, {"好": 0.3}, 7)
    assert not tuned.module.training
    stock = {"bert": "BertForSequenceClassification", "gpt2": "GPT2ForSequenceClassification"}
    if name in stock:
        is_stock = options.get("pooling", "auto") == "auto" or (name == "gpt2" and options["pooling"] == "last")
        assert tuned.card["stock_class"] == (stock[name] if is_stock else None)
        assert (read(folder / "config.json")["architectures"] == [stock[name]]) is is_stock


def test_an_architecture_without_a_stock_head_comes_back_too(
    bert: Base, save: Callable[..., Path], tmp_path: Path
) -> None:
    import shutil

    from transformers import ElectraConfig, ElectraModel

    folder = Path(shutil.copytree(bert.folder, tmp_path / "electra"))
    config = ElectraConfig(
        vocab_size=bert.vocabulary_size, embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, classifier_dropout=0.25,
    )  # fmt: skip
    ElectraModel(config).save_pretrained(folder)
    electra = replace(bert, folder=folder, architecture="electra", name="electra")
    module = task().attach(electra, seed=1)
    assert isinstance(module, Classifier)
    assert (module.pooling, module.head.dense, module.head.dropout.p) == ("mean", None, 0.25)
    saved = save(module, task(), electra)
    tuned = load_model(saved)
    assert np.array_equal(logits_of(tuned.module, saved), logits_of(module, folder))
    assert tuned.card["stock_class"] is None


def test_the_configuration_says_what_is_true_of_the_tuned_model(
    bert: Base, moved: Callable[[Base], Base], save: Callable[..., Path]
) -> None:
    base = moved(bert)
    path = base.folder / "config.json"
    config = {**read(path), "torch_dtype": "bfloat16", "dtype": "bfloat16", "_name_or_path": "someone/model",
              "auto_map": {"AutoModel": "own.Model"}, "id2label": {"0": "LABEL_0", "1": "x", "2": "y"}}  # fmt: skip
    path.write_text(json.dumps(config), encoding="utf-8")
    wanted = task(("a", "b"), dropout=0.3)
    found = read(save(wanted.attach(base, seed=1), wanted, base) / "config.json")
    assert found.keys().isdisjoint({"torch_dtype", "_name_or_path", "auto_map"})
    assert (found["id2label"], found["label2id"]) == ({"0": "a", "1": "b"}, {"a": 0, "b": 1})
    assert (found["dtype"], found["classifier_dropout"], found["num_labels"]) == ("float32", 0.3, 2)
    assert found["problem_type"] == "single_label_classification"


def test_a_single_output_is_named_after_the_second_label(bert: Base, save: Callable[..., Path]) -> None:
    wanted = task(("no", "yes"), output="sigmoid")
    found = read(save(wanted.attach(bert, seed=1), wanted, bert) / "config.json")
    assert (found["id2label"], found["problem_type"]) == ({"0": "yes"}, "multi_label_classification")


def test_a_decoder_pads_with_its_own_pad_token_or_its_end_of_text(
    gpt2: Base, moved: Callable[[Base], Base], save: Callable[..., Path]
) -> None:
    found = save(task().attach(gpt2, seed=1), task(), gpt2)
    assert load_tokenizer(found).pad_token == "<|endoftext|>"
    assert read(found / "config.json")["pad_token_id"] == load_tokenizer(gpt2.folder).eos_token_id

    base = replace(moved(gpt2), name="with-pad")
    settings = base.folder / "tokenizer_config.json"
    settings.write_text(json.dumps({**read(settings), "pad_token": "!"}), encoding="utf-8")
    found = save(task().attach(base, seed=1), task(), base)
    assert load_tokenizer(found).pad_token == "!"
    assert read(found / "config.json")["pad_token_id"] == load_tokenizer(base.folder).pad_token_id


def test_a_folder_without_a_tuned_model_is_refused(bert: Base, tmp_path: Path) -> None:
    for folder in (bert.folder, tmp_path / "nowhere"):
        with pytest.raises(InputError) as caught:
            load_model(folder)
        assert CARD in caught.value.allowed
        assert caught.value.hint == "tunewright runs list"


def test_a_base_keeps_its_own_files(bert: Base, save: Callable[..., Path]) -> None:
    before = {path.name: path.read_bytes() for path in bert.folder.iterdir()}
    save(task().attach(bert, seed=1), task(), bert)
    assert {path.name: path.read_bytes() for path in bert.folder.iterdir()} == before


# ------------------------------------------------------------------------------------------------------------ attaching


def test_the_head_depends_on_the_seed_alone(gpt2: Base) -> None:
    torch.manual_seed(5)
    first = attach_head(gpt2, Classify.Config(), 3, seed=1).head.state_dict()
    state = torch.random.get_rng_state()
    torch.manual_seed(6)
    second = attach_head(gpt2, Classify.Config(), 3, seed=1).head.state_dict()
    other = attach_head(gpt2, Classify.Config(), 3, seed=2).head.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())
    torch.manual_seed(5)
    assert torch.equal(state, torch.random.get_rng_state()), "drawing a head moves no other random number"


def test_the_dense_layer_starts_from_the_bases_pooler(bert: Base) -> None:
    from safetensors.torch import load_file

    stored = load_file(str(bert.folder / "model.safetensors"))
    head = attach_head(bert, Classify.Config(), 3, seed=1).head
    assert head.dense is not None
    assert torch.equal(head.dense.weight, stored["pooler.dense.weight"])
    assert torch.equal(head.dense.bias, stored["pooler.dense.bias"])


def test_a_base_without_pooler_gets_a_fresh_dense_layer(bert: Base, gpt2: Base, moved: Callable[[Base], Base]) -> None:
    from safetensors.torch import load_file, save_file

    assert read_pooler(gpt2) is None
    base = moved(bert)
    path = base.folder / "model.safetensors"
    kept = {name: value for name, value in load_file(str(path)).items() if "pooler" not in name}
    save_file({f"bert.{name}": value for name, value in kept.items()}, str(path), metadata={"format": "pt"})
    head = attach_head(base, Classify.Config(), 3, seed=1).head
    assert head.dense is not None
    assert 0.015 < float(head.dense.weight.detach().std()) < 0.025
    assert not head.dense.bias.any()


@pytest.mark.parametrize(("name", "dropout"), [("bert", 0.1), ("gpt2", 0.0), ("llama", 0.0)])
def test_dropout_left_open_is_that_of_the_stock_head(name: str, dropout: float, request: pytest.FixtureRequest) -> None:
    base: Base = request.getfixturevalue(name)
    assert attach_head(base, Classify.Config(), 2, seed=1).head.dropout.p == dropout
    assert attach_head(base, Classify.Config(dropout=0.7), 2, seed=1).head.dropout.p == 0.7


def test_an_encoder_with_a_decoder_is_refused(bert: Base) -> None:
    with pytest.raises(InputError) as caught:
        attach_head(replace(bert, kind="encoder-decoder", architecture="t5"), Classify.Config(), 2, seed=1)
    assert caught.value.where == "model.name"


# ------------------------------------------------------------------------------------------------- going on from a run


def earlier_run(bert: Base, save: Callable[..., Path]) -> tuple[Base, Classifier]:
    module = task().attach(bert, seed=1)
    assert isinstance(module, Classifier)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return replace(bert, folder=save(module, task(), bert)), module


def test_a_run_goes_on_from_an_earlier_one_with_trunk_and_head(bert: Base, save: Callable[..., Path]) -> None:
    base, module = earlier_run(bert, save)
    again = task(label_smoothing=0.1).attach(base, seed=9)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    "other",
    [
        task(("bad", "fine")),
        task(("bad", "好", "x")),
        task(multi_label=True),
        task(output="sigmoid"),
        task(pooling="mean"),
    ],
)
def test_for_other_labels_or_another_head_the_head_is_fresh(
    bert: Base, save: Callable[..., Path], other: Classify
) -> None:
    base, module = earlier_run(bert, save)
    again = other.attach(base, seed=9)
    assert isinstance(again, Classifier)
    trunk = module.trunk.state_dict()
    assert all(torch.equal(value, trunk[name]) for name, value in again.trunk.state_dict().items())
    assert not again.head.output.bias.any()
