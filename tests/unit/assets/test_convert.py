"""Converters give what the sources hold, checked against files made here byte by byte."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tunewright.assets.convert.base import Material
from tunewright.assets.convert.chatterbot import Chatterbot, to_messages
from tunewright.assets.convert.e5s1 import E5s1
from tunewright.assets.convert.gguf import Gguf
from tunewright.assets.convert.peoples_daily import PeoplesDaily, join_persons, read_sentences
from tunewright.assets.convert.vader import read_rows
from tunewright.errors import CorruptError, InputError
from tunewright.store.artifact import Draft

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """An empty draft."""
    folder = tmp_path / "draft"
    folder.mkdir()
    return Draft(folder)


def test_ratings_become_labels_and_zero_is_negative() -> None:
    rows = list(read_rows(['1\t2.5\tGood, "really"', "2\t0\tso so", "3\t-0.25\t不好"], "f.txt"))
    assert rows == [('Good, "really"', "positive", "2.5"), ("so so", "negative", "0"), ("不好", "negative", "-0.25")]


@pytest.mark.parametrize("line", ["no tabs", "1\tmuch\ttext", "1\t5\ttext", "1\tnan\ttext", "1\t2"])
def test_what_is_no_rated_text_is_named_with_its_line(line: str) -> None:
    with pytest.raises(CorruptError) as caught:
        list(read_rows(["1\t1\tfine", line], "f.txt"))
    assert caught.value.where == "f.txt:2"


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        ("江/nr 泽民/nr 同/p 李/nr 鹏/nr", ["江泽民", "同", "李鹏"]),
        ("欧阳/nr 修/nr", ["欧阳修"]),
        ("克林顿/nr 访华/v", ["克林顿", "访华"]),
        ("马克思/nr 恩格斯/nr", ["马克思", "恩格斯"]),
        ("杜/nr 中武/nr 孙/nr 传刚/nr", ["杜中武", "孙传刚"]),
        ("陈/nr 方/nr 安生/nr 说/v", ["陈方安生", "说"]),
        ("郭/nr 老/a", ["郭", "老"]),
        ("北京/ns 朝阳区/ns", ["北京", "朝阳区"]),
    ],
)
def test_surname_and_given_name_are_one_person(words: str, joined: list[str]) -> None:
    (sentence,) = read_sentences([words], "f")
    assert [word for word, _ in join_persons(sentence)] == joined


def test_tagged_news_becomes_one_character_a_line(tmp_path: Path, draft: Draft) -> None:
    source = tmp_path / "199801.txt"
    source.write_text("新华社/nt  北京/ns  江/nr  泽民/nr  １/m\n\n好/a\n", encoding="utf-8")
    notes = PeoplesDaily().convert(Material({"x/199801.txt": source}, "out.conll"), draft)
    expected = "新 B-ORG,华 I-ORG,社 I-ORG,北 B-LOC,京 I-LOC,江 B-PER,泽 I-PER,民 I-PER,１ O,,好 O,,"
    assert draft.path("out.conll").read_text(encoding="utf-8") == expected.replace(" ", "\t").replace(",", "\n")
    assert notes == ("2 sentences with 1 PER, 1 LOC, 1 ORG",)
    with pytest.raises(CorruptError, match="not a tagged sentence"):
        list(read_sentences(["好/a 坏"], "f"))


def test_dialogues_become_messages_that_end_with_an_answer(tmp_path: Path, draft: Draft) -> None:
    source = tmp_path / "talk.yml"
    source.write_text(
        "categories: [a]\nconversations:\n- - 你好\n  - 嗨\n  - 再见\n- alone\n- - no\n  - 1\n- - just one\n",
        encoding="utf-8",
    )
    notes = Chatterbot().convert(Material({"talk.yml": source}, "out.jsonl"), draft)
    lines = [json.loads(line) for line in draft.path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [{"messages": to_messages(["你好", "嗨"])}, {"messages": to_messages(["no", "1"])}]
    assert lines[0]["messages"][1] == {"role": "assistant", "content": "嗨"}
    assert notes == ("2 dialogues; 2 malformed left out; 1 last turns left off",)
    source.write_text("!!python/object/apply:os.system [true]\n", encoding="utf-8")
    with pytest.raises(CorruptError):
        Chatterbot().convert(Material({"talk.yml": source}, "again.jsonl"), draft)


# --------------------------------------------------------------------------------------------------------------- E5S1

HIDDEN, LAYERS, INNER, POSITIONS, TYPES = 32, 2, 64, 16, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁好", "好", "～", "▁hello", "o", "<mask>"]
VOCABULARY = len(PIECES) + 1


def _quantised(generator: np.random.Generator, rows: int, columns: int) -> tuple[bytes, NDArray[np.float32]]:
    """Random Q4_0 blocks, and the weights that they stand for, worked out one by one."""
    content, weights = b"", []
    for _ in range(rows * columns // 32):
        scale = np.float16(generator.normal() / 8)
        nibbles = generator.integers(0, 16, 32)
        content += scale.tobytes() + bytes(int(nibbles[j]) | int(nibbles[j + 16]) << 4 for j in range(16))
        weights += [(int(nibble) - 8) * float(scale) for nibble in nibbles]
    return content, np.array(weights, np.float32).reshape(rows, columns)


def make_e5s1() -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """A tiny E5S1 file and its weights by the names of the file."""
    generator = np.random.default_rng(0)
    matrices = {"emb.word": (VOCABULARY, HIDDEN)}
    vectors = {"emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN}
    plain = {"emb.pos": (POSITIONS, HIDDEN), "emb.type": (TYPES, HIDDEN)}
    for layer in range(LAYERS):
        for part in ("q", "k", "v", "ao", "fi", "fo"):
            shape = {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}.get(part, (HIDDEN, HIDDEN))
            matrices[f"l{layer}.{part}.w"] = shape
            vectors[f"l{layer}.{part}.b"] = shape[0]
        vectors |= {f"l{layer}.{part}.{end}": HIDDEN for part in ("aln", "oln") for end in "wb"}
    tensors: list[tuple[str, int, bytes, NDArray[np.float32]]] = []
    for name, shape in matrices.items():
        tensors.append((name, 1, *_quantised(generator, *shape)))
    sizes: dict[str, int | tuple[int, int]] = {**plain, **vectors}
    for name, size in sizes.items():
        values = generator.normal(size=size).astype("<f4")
        tensors.append((name, 0, values.tobytes(), values))
    blob = "".join(PIECES).encode()
    offsets = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)])
    head = struct.pack("<4sI7ifi", b"E5S1", 1, HIDDEN, LAYERS, 4, INNER, VOCABULARY, POSITIONS, TYPES, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + offsets.astype("<u4").tobytes()
    head += np.linspace(-1, -9, len(PIECES)).astype("<f4").tobytes() + blob
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0xA0, 1, 0x20) + struct.pack("<i", len(tensors))
    table_length = sum(2 + len(name) + 21 for name, *_ in tensors)
    position, table, body = len(head) + table_length, b"", b""
    for name, kind, content, values in tensors:
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, values.size, position + len(body), len(content))
        body += content
    return head + table + body, {name: values for name, _, _, values in tensors}


def test_e5s1_becomes_a_folder_that_transformers_loads(tmp_path: Path, draft: Draft) -> None:
    from transformers import AutoModel, AutoTokenizer

    content, expected = make_e5s1()
    source = tmp_path / "tiny.bin"
    source.write_bytes(content)
    notes = E5s1().convert(Material({"tiny.bin": source}), draft)
    assert notes == (f"{1 + 6 * LAYERS} of {len(expected)} tensors were stored as Q4_0",)
    model: Any = AutoModel.from_pretrained(draft.folder, add_pooling_layer=False)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    assert len(state) == len(expected)
    for name, layer_name in {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
        "l0.k.w": "encoder.layer.0.attention.self.key.weight",
        "l1.ao.b": "encoder.layer.1.attention.output.dense.bias",
        "l1.aln.w": "encoder.layer.1.attention.output.LayerNorm.weight",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l1.fo.w": "encoder.layer.1.output.dense.weight",
        "l1.oln.b": "encoder.layer.1.output.LayerNorm.bias",
    }.items():
        np.testing.assert_array_equal(state[layer_name], expected[name])
    assert model.config.layer_norm_eps == 1e-12
    tokenizer = AutoTokenizer.from_pretrained(draft.folder)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(" 好～ \n ｈｅｌｌｏ\u00a0好 ")["input_ids"])
    assert tokens == ["<s>", "▁好", "～", "▁hello", "▁好", "</s>"]
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (1, 10, POSITIONS)


def test_a_damaged_e5s1_file_is_refused(tmp_path: Path, draft: Draft) -> None:
    content, _ = make_e5s1()
    source = tmp_path / "tiny.bin"
    for damaged in (b"", b"GGUF" + content[4:], content[:60], content[:900], content[: len(content) - 1]):
        source.write_bytes(damaged)
        with pytest.raises(CorruptError, match="not an E5S1 file"):
            E5s1().convert(Material({"tiny.bin": source}), draft)
        assert not list(draft.folder.iterdir())


# --------------------------------------------------------------------------------------------------------------- GGUF


def make_gguf(path: Path, architecture: str = "llama") -> dict[str, NDArray[np.float32]]:
    """A tiny Llama in Q8_0 with a byte-level tokenizer; its widened weights by their names in the file."""
    from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize

    hidden, inner, tokens = 64, 128, [*map(chr, range(0x21, 0x7F)), "Ġ", "he", "ll", "<s>", "</s>"]
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(hidden // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    generator = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(tokens), hidden),
        **{f"blk.0.attn_{part}": (hidden, hidden) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (inner, hidden),
        "blk.0.ffn_up": (inner, hidden),
        "blk.0.ffn_down": (hidden, inner),
    }
    widened: dict[str, NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        packed = quantize(generator.normal(size=shape).astype(np.float32), GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=GGMLQuantizationType.Q8_0)
        widened[name] = dequantize(packed, GGMLQuantizationType.Q8_0)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        widened[name] = generator.normal(size=hidden).astype(np.float32)
        writer.add_tensor(f"{name}.weight", widened[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return widened


def test_gguf_parts_are_joined_and_widened(tmp_path: Path, draft: Draft, capfd: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import load_file

    expected = make_gguf(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    parts = {}
    for number, start in enumerate(range(0, len(content), 30_000)):
        parts[f"part{number}"] = draft.path(f"member-{number}")
        parts[f"part{number}"].write_bytes(content[start : start + 30_000])
    capfd.readouterr()
    notes = Gguf().convert(Material(parts), draft)
    assert capfd.readouterr() == ("", "")
    assert notes == ("tensors as they were stored: 8 Q8_0, 3 F32",)
    assert not draft.path("joined.gguf").exists()
    found = load_file(draft.path("model.safetensors"))
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], expected["token_embd"])
    np.testing.assert_array_equal(found["model.layers.0.mlp.down_proj.weight"], expected["blk.0.ffn_down"])
    np.testing.assert_array_equal(found["model.norm.weight"], expected["output_norm"])
    config = json.loads(draft.path("config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["hidden_size"]) == ("llama", 64)
    assert "quantization_config" not in config
    assert draft.path("tokenizer.json").is_file()


def test_what_is_no_gguf_or_an_unknown_kind_of_it_is_refused(tmp_path: Path, draft: Draft) -> None:
    member = draft.path("member")
    member.write_bytes(b"not a GGUF file at all" * 10)
    with pytest.raises(CorruptError, match="not a whole GGUF file"):
        Gguf().convert(Material({"x.gguf": member}), draft)
    make_gguf(tmp_path / "odd.gguf", "flying-carpet")
    content = (tmp_path / "odd.gguf").read_bytes()
    for whole, error in ((content[:-500], CorruptError), (content, InputError)):
        member.write_bytes(whole)
        with pytest.raises(error):
            Gguf().convert(Material({"odd.gguf": member}), draft)


def test_importing_the_catalogue_loads_nothing_heavy(run_process: Any) -> None:
    code = "import sys, tunewright.assets; print([n for n in ('torch', 'transformers', 'unearth', 'httpx2') if n in sys.modules])"
    assert run_process(sys.executable, "-c", code).stdout.strip() == "[]"
