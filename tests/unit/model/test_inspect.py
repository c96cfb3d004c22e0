"""A model folder is read from its files alone, and refused with what to do instead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tunewright.errors import InputError
from tunewright.model.inspect import count_parameters, read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder of a BERT."""
    made = tmp_path / "model"
    made.mkdir()
    write_config(made, model_type="bert", vocab_size=100, max_position_embeddings=64)
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float16)}, made / "model.safetensors")
    (made / "vocab.txt").write_text("[UNK]\n好\n", encoding="utf-8")
    return made


def write_config(folder: Path, **values: object) -> None:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def test_the_portrait_of_a_folder(folder: Path) -> None:
    portrait = read_folder(folder)
    assert (portrait.architecture, portrait.kind) == ("bert", "encoder")
    assert (portrait.num_parameters, portrait.max_positions, portrait.vocabulary_size) == (22, 64, 100)
    assert (portrait.licence, portrait.notes) == ("not stated", ())


@pytest.mark.parametrize("fixture", ["tiny_bert_folder", "tiny_gpt2_folder", "tiny_llama_folder"])
def test_real_models_are_counted_as_torch_counts_them(fixture: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoModel

    folder: Path = request.getfixturevalue(fixture)
    portrait = read_folder(folder)
    model = AutoModel.from_pretrained(folder)
    saved = {name.rpartition("transformer.")[2] for name in model.state_dict()}
    assert portrait.num_parameters >= sum(
        p.numel() for n, p in model.named_parameters() if "pooler" not in n and n in saved
    )
    assert portrait.kind == ("encoder" if fixture == "tiny_bert_folder" else "decoder")
    assert portrait.vocabulary_size == model.config.vocab_size


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "xlm-roberta"}, "encoder"),
        ({"model_type": "bert", "is_decoder": True}, "decoder"),
        ({"model_type": "qwen3"}, "decoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "eurobert"}, "encoder"),
        ({"model_type": "olmo2"}, "decoder"),
    ],
)
def test_the_kind_of_architecture(config: dict[str, object], kind: str, folder: Path) -> None:
    write_config(folder, vocab_size=9, max_position_embeddings=64, **config)
    assert read_folder(folder).kind == kind


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 32, "vocab_size": 5}}, 32),
        ({"model_type": "t5", "is_encoder_decoder": True}, 200),
    ],
)
def test_positions(config: dict[str, object], limit: int, folder: Path) -> None:
    write_config(folder, **{"vocab_size": 9, **config})
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 200}', encoding="utf-8")
    assert read_folder(folder).max_positions == limit


def test_shards_are_summed_and_a_missing_one_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard in shards:
        save_file({shard: np.zeros(10, np.float32)}, folder / shard)
    index = {"weight_map": {shard: shard for shard in shards}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert read_folder(folder).num_parameters == 20
    (folder / shards[1]).unlink()
    with pytest.raises(InputError, match="not whole") as caught:
        read_folder(folder)
    assert shards[1] in str(caught.value.given)


def test_a_cut_off_weights_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="not a whole safetensors file"):
            count_parameters(path)


def test_the_digest_changes_with_every_file_that_counts(folder: Path, tmp_path: Path) -> None:
    first = read_folder(folder).digest
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("---\nlicense: mit\n---\n# 模型\n", encoding="utf-8")
    again = read_folder(copy)
    assert (again.digest, again.licence) == (first, "mit")
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        kept = (copy / name).read_bytes()
        changed = kept.replace(b"64", b"65") if name == "config.json" else kept[:-1] + bytes([kept[-1] ^ 1])
        (copy / name).write_bytes(changed)
        assert read_folder(copy).digest != first
        (copy / name).write_bytes(kept)


def test_pickled_weights_are_refused_with_what_to_do(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickle can run code") as caught:
        read_folder(folder)
    assert caught.value.exit_code == 2
    assert "save_pretrained" in caught.value.hint
    assert caught.value.given == "pytorch_model.bin"


@pytest.mark.parametrize(
    ("missing", "problem"),
    [("config.json", "is missing"), ("model.safetensors", "no weights"), ("vocab.txt", "no tokenizer")],
)
def test_a_missing_file_is_named(missing: str, problem: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(InputError, match=problem) as caught:
        read_folder(folder)
    assert all([caught.value.where, caught.value.given, caught.value.allowed, caught.value.hint])


def test_a_folder_above_the_model_points_to_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing") as caught:
        read_folder(folder.parent)
    assert str(folder) in caught.value.hint


def test_code_that_comes_along_is_noted_for_a_built_in_architecture_and_refused_for_another(folder: Path) -> None:
    write_config(folder, model_type="bert", vocab_size=9, auto_map={"AutoModel": "modeling_evil.Evil"})
    assert "never run" in read_folder(folder).notes[0]
    write_config(folder, model_type="evil", vocab_size=9, auto_map={"AutoModel": "modeling_evil.Evil"})
    with pytest.raises(InputError, match="no language model of this architecture"):
        read_folder(folder)
