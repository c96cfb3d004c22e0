"""A folder loads as the model that it is, or is refused; nothing is made up and no code of a folder runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.errors import InputError
from tunewright.infer.load import load_tokenizer, load_trunk, read_config, read_width, tokenize


@pytest.fixture
def folder(tiny_bert_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def test_the_trunk_is_loaded_in_fp32_for_evaluation_without_its_pooling_layer(tiny_bert_folder: Path) -> None:
    from safetensors.torch import load_file

    trunk = load_trunk(tiny_bert_folder)
    assert not trunk.training
    stored = load_file(str(tiny_bert_folder / "model.safetensors"))
    assert any("pooler" in name for name in stored)
    found = trunk.state_dict()
    assert found.keys() == {name for name in stored if not name.startswith("pooler")}
    assert all(torch.equal(value, stored[name]) for name, value in found.items())


def test_half_precision_weights_are_widened(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    stored = {name: value.bfloat16() for name, value in load_file(str(path)).items()}
    save_file(stored, str(path), metadata={"format": "pt"})
    change(folder / "config.json", dtype="bfloat16")
    found = load_trunk(folder).state_dict()
    assert all(torch.equal(value, stored[name].float()) for name, value in found.items())
    assert {value.dtype for value in found.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("electra", {"embedding_size": 32}),
        ("gemma2", {"num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16}),
        ("modernbert", {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}),
    ],
)
def test_architectures_with_habits_of_their_own_load_too(
    architecture: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """No pooling layer to leave out; no fused attention."""
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config_class: Any = CONFIG_MAPPING[architecture]
    model_class: Any = MODEL_MAPPING[config_class]
    model = model_class(config_class(vocab_size=99, **shape, **options))
    model.save_pretrained(tmp_path)
    found = load_trunk(tmp_path).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def refused(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_trunk(folder)
    assert caught.value.where == str(folder)
    assert caught.value.allowed
    return caught.value


def test_missing_weights_are_named_and_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    stored = load_file(str(path))
    del stored["encoder.layer.1.output.dense.bias"]
    save_file(stored, str(path), metadata={"format": "pt"})
    assert refused(folder).given == "1 of its weights are missing, such as encoder.layer.1.output.dense.bias"


def test_folders_that_are_no_model_are_refused(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", hidden_size=64)
    assert "size" in str(refused(folder).given)
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    refused(folder)
    (folder / "model.safetensors").unlink()
    refused(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    refused(folder)
    refused(tmp_path / "nowhere")


@pytest.mark.parametrize("named", ["my-own-model", None, 7])
def test_an_architecture_that_is_not_built_in_is_refused_and_its_code_never_runs(
    folder: Path, tmp_path: Path, named: object
) -> None:
    marker = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')\n", encoding="utf-8")
    change(
        folder / "config.json",
        model_type=named,
        auto_map={"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.Model"},
    )
    assert repr(named) in str(refused(folder).given)
    assert not marker.exists()


def test_code_beside_a_built_in_architecture_is_passed_over(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')\n", encoding="utf-8")
    change(folder / "config.json", auto_map={"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.Model"})
    assert type(load_trunk(folder)).__name__ == "BertModel"
    assert not marker.exists()


def test_a_tokenizer_with_code_of_its_own_is_refused(folder: Path) -> None:
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tokenizer", None]})
    with pytest.raises(InputError, match="tokenizer"):
        load_tokenizer(folder)


def test_a_tokenizer_that_pads_and_cuts_by_itself_does_neither_here(folder: Path) -> None:
    """Sentence encoders ship a tokenizer that pads every row to a fixed length and cuts it there, from the left even."""
    path = folder / "tokenizer.json"
    change(
        path,
        truncation={"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    )  # fmt: skip
    change(folder / "tokenizer_config.json", truncation_side="left", model_max_length=4)
    tokenizer = load_tokenizer(folder)
    whole = tokenize(tokenizer, ["a good film", "这部电影很好看"], None)
    assert [len(ids) for ids in whole] == [5, 9]
    start, end = whole[0][0], whole[0][-1]
    cut = tokenize(tokenizer, ["a good film", "这部电影很好看"], 5)
    assert cut == [whole[0], [start, *whole[1][1:4], end]]
    assert tokenize(tokenizer, ["这部电影很好看"], None) == [whole[1]], "cutting leaves no trace"


def test_a_text_of_which_nothing_is_left_is_one_token(tiny_gpt2_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_gpt2_folder)
    assert tokenize(tokenizer, ["", "ab"], None) == [[tokenizer.eos_token_id], tokenizer("ab")["input_ids"]]
    assert tokenize(tokenizer, ["", "ab"], 1)[0] == [tokenizer.eos_token_id]


def test_the_width_is_read_under_every_name(tmp_path: Path) -> None:
    assert read_config(tmp_path) == {}
    assert read_width(tmp_path) == 0
    for name in ("hidden_size", "n_embd", "d_model", "dim"):
        (tmp_path / "config.json").write_text(json.dumps({name: 48}), encoding="utf-8")
        assert read_width(tmp_path) == 48
