"""E5S1, a packed multilingual E5 encoder: 4-bit weights and a Unigram vocabulary become a transformers folder.

Layout, little-endian: ``E5S1``, u32 version, i32 hidden, layers, heads, inner, vocabulary, positions, types, f32 epsilon,
i32 block length (32); i32 pieces, bos, eos, pad, unk, u64 length, u32 offsets[pieces + 1], f32 scores[pieces], the pieces
in UTF-8; i32 mappings, u32 length, the normaliser's table; i32 tensors, and for each u16 length, name, u8 type, u32 count,
u64 offset from the start of the file, u64 bytes. Type 0 is f32. Type 1 is Q4_0: blocks of an f16 scale and 16 bytes, where
byte j holds weight j in its low half and weight j + 16 in its high half, each minus 8, times the scale.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tunewright.assets.convert.base import Material
from tunewright.errors import CorruptError
from tunewright.store.artifact import Draft
from tunewright.types import Tell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Matrix = NDArray[np.float32]

_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_F32, _Q4_0 = 0, 1
_BLOCK = 32
_BLOCK_BYTES = 18
_KEPT, _STAND_IN = "\uff5e", "\uf8f0"
"""The full-width tilde, which the model's normaliser keeps and NFKC folds, and a private character to carry it past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The sizes in the header."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """The pieces with their log-probabilities, in order of id, and the special ids."""

    pieces: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unk: int


class E5s1:
    """The packed file becomes config.json, model.safetensors (f32, BertModel without a pooler) and tokenizer files."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write the folder; the note says which weights were in 4 bits. Raises CorruptError."""
        from safetensors.numpy import save_file

        ((name, path),) = material.members.items()
        reader = _Reader(path.read_bytes(), name)
        shape, vocabulary, tensors, num_packed = reader.read(material.tell)
        save_file(tensors, draft.path("model.safetensors"), metadata={"format": "pt"})
        draft.write_json("config.json", _config(shape, vocabulary))
        draft.write_bytes("tokenizer.json", _tokenizer(vocabulary).to_str().encode("utf-8"))
        draft.write_json("tokenizer_config.json", _tokenizer_config(shape, vocabulary))
        return (f"{num_packed} of {len(tensors)} tensors were stored as Q4_0",)


class _Reader:
    """Reads the file front to back and refuses whatever does not fit."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        self._position = 0

    def read(self, tell: Tell) -> tuple[_Shape, _Vocabulary, dict[str, Matrix], int]:
        try:
            magic, version = self._take("4sI")
            if (magic, version) != (b"E5S1", 1):
                raise ValueError(f"starts with {magic!r}, version {version}")
            shape = self._shape()
            vocabulary = self._vocabulary()
            _, table_bytes = self._take("iI")
            self._position += table_bytes
            return shape, vocabulary, *self._tensors(shape, tell)
        except (struct.error, ValueError, IndexError, KeyError) as error:
            raise CorruptError("not an E5S1 file", where=self._name, given=error) from error

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._content, self._position)
        self._position += struct.calcsize(f"<{layout}")
        return values

    def _shape(self) -> _Shape:
        hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = self._take("7ifi")
        if block != _BLOCK:
            raise ValueError(f"blocks of {block} weights")
        return _Shape(
            hidden=hidden,
            layers=layers,
            heads=heads,
            inner=inner,
            vocabulary=vocabulary,
            positions=positions,
            types=types,
            epsilon=epsilon,
        )

    def _vocabulary(self) -> _Vocabulary:
        num_pieces, bos, eos, pad, unk, num_bytes = self._take("5iQ")
        offsets = self._take(f"{num_pieces + 1}I")
        scores = self._take(f"{num_pieces}f")
        blob = self._content[self._position : self._position + num_bytes]
        self._position += num_bytes
        texts = [blob[start:end].decode("utf-8") for start, end in pairwise(offsets)]
        return _Vocabulary(pieces=list(zip(texts, scores, strict=True)), bos=bos, eos=eos, pad=pad, unk=unk)

    def _tensors(self, shape: _Shape, tell: Tell) -> tuple[dict[str, Matrix], int]:
        (num_tensors,) = self._take("i")
        shapes = _tensor_shapes(shape)
        tensors: dict[str, Matrix] = {}
        num_packed = 0
        for number in range(num_tensors):
            (length,) = self._take("H")
            packed_name = self._take(f"{length}s")[0].decode("ascii")
            kind, count, offset, num_bytes = self._take("BIQQ")
            name, (rows, columns) = shapes.pop(packed_name)
            if count != max(rows, 1) * columns:
                raise ValueError(f"{packed_name} has {count} weights")
            flat = self._weights(kind, count, self._content[offset : offset + num_bytes])
            tensors[name] = flat.reshape(rows, columns) if rows else flat
            num_packed += kind == _Q4_0
            tell("unpacking the weights", number + 1, num_tensors, "")
        if shapes:
            raise ValueError(f"lacks {', '.join(sorted(shapes)[:5])}")
        return tensors, num_packed

    def _weights(self, kind: int, count: int, content: bytes) -> Matrix:
        import numpy as np

        expected = {_F32: count * 4, _Q4_0: count // _BLOCK * _BLOCK_BYTES}[kind]
        if len(content) != expected:
            raise ValueError(f"a tensor of {count} weights in {len(content)} bytes")
        if kind == _F32:
            return np.frombuffer(content, "<f4").astype(np.float32)
        blocks = np.frombuffer(content, np.uint8).reshape(-1, _BLOCK_BYTES)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
        weights: Matrix = ((nibbles.astype(np.float32) - 8) * scales).reshape(-1)
        return weights


def _tensor_shapes(shape: _Shape) -> dict[str, tuple[str, tuple[int, int]]]:
    """Name in the file -> (name in BertModel, (rows, columns)); rows 0 stands for a vector."""
    h, inner = shape.hidden, shape.inner
    sizes = {"fi": (inner, h), "fo": (h, inner)}
    found = {
        "emb.word": (shape.vocabulary, h),
        "emb.pos": (shape.positions, h),
        "emb.type": (shape.types, h),
        "emb.ln.w": (0, h),
        "emb.ln.b": (0, h),
    }
    named = {packed: (_EMBEDDINGS[packed], size) for packed, size in found.items()}
    for layer in range(shape.layers):
        for part, module in _LAYER.items():
            rows, columns = (0, h) if part.endswith("ln") else sizes.get(part, (h, h))
            stem = f"encoder.layer.{layer}.{module}"
            named[f"l{layer}.{part}.w"] = (f"{stem}.weight", (rows, columns))
            named[f"l{layer}.{part}.b"] = (f"{stem}.bias", (0, rows or columns))
    return named


def _config(shape: _Shape, vocabulary: _Vocabulary) -> dict[str, object]:
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        # Stored as f32; the nearest short decimal is what the authors wrote.
        "layer_norm_eps": float(f"{shape.epsilon:.6g}"),
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": vocabulary.pad,
        "type_vocab_size": shape.types,
        "vocab_size": shape.vocabulary,
    }


def _tokenizer(vocabulary: _Vocabulary) -> Tokenizer:
    """Unigram pieces behind the normaliser of XLM-R: its rules for white space, then NFKC, which spares one character."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(vocabulary.pieces, unk_id=vocabulary.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.Replace(_KEPT, _STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(_STAND_IN, _KEPT),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos = (vocabulary.pieces[number][0] for number in (vocabulary.bos, vocabulary.eos))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    special = [text for text, _ in vocabulary.pieces if text.startswith("<") and text in _SPECIAL]
    tokenizer.add_special_tokens([AddedToken(text, lstrip=text == "<mask>", normalized=False) for text in special])
    return tokenizer


_SPECIAL = {"<s>": "bos_token", "</s>": "eos_token", "<pad>": "pad_token", "<unk>": "unk_token", "<mask>": "mask_token"}


def _tokenizer_config(shape: _Shape, vocabulary: _Vocabulary) -> dict[str, object]:
    known = {text for text, _ in vocabulary.pieces} & set(_SPECIAL)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "cls_token": "<s>",
        "sep_token": "</s>",
        **{_SPECIAL[text]: text for text in sorted(known)},
    }
