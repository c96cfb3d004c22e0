"""Read what a transformers folder says about itself, without loading it: no torch, no code of its own, no pickle.

Parameter counts come from the headers of the safetensors files: 8 bytes of length, then JSON with each tensor's shape.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunewright.errors import InputError
from tunewright.store.digest import digest_json, sha256_file
from tunewright.store.manifest import read_manifest
from tunewright.types import Tell, tell_nobody

Kind = Literal["encoder", "decoder", "encoder-decoder"]

_MAX_HEADER_BYTES = 100_000_000
_MAX_CONFIG_BYTES = 16 << 20
_WEIGHTS_INDEX = "model.safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_OFFSET_POSITIONS = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
"""Architectures that count positions from the pad id on, so that they have two fewer than the table has rows."""

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length", "seq_length")
_FREQUENT: Mapping[str, Kind] = {
    **dict.fromkeys(("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "ernie"), "encoder"),
    **dict.fromkeys(("modernbert", "mpnet", "nomic_bert", "rembert", "roberta", "xlm-roberta"), "encoder"),
    **dict.fromkeys(
        ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"), "decoder"
    ),
    **dict.fromkeys(("t5", "mt5", "bart", "mbart", "marian"), "encoder-decoder"),
}
"""Known without asking transformers, whose import takes seconds."""

_NO_LIMIT = 1 << 20
"""``max_positions`` where nothing limits it, as with relative or no positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """What a model folder says about itself; the fields are those of ``Base``."""

    architecture: str
    kind: Kind
    num_parameters: int
    max_positions: int
    vocabulary_size: int
    licence: str
    digest: str
    notes: tuple[str, ...]


def read_folder(folder: Path, known: Mapping[str, str] | None = None, tell: Tell = tell_nobody) -> Portrait:
    """The portrait of ``folder``; ``known`` holds the SHA-256 of files that have just been verified.

    Raises InputError for a folder that cannot be used, with what to do instead.
    """
    config = _read_config(folder)
    weights = find_weights(folder)
    _require_tokenizer(folder)
    architecture = str(config.get("model_type", ""))
    text = _text_part(config)
    return Portrait(
        architecture=architecture,
        kind=_kind(config, folder),
        num_parameters=sum(count_parameters(path) for path in weights),
        max_positions=_max_positions(text, folder),
        vocabulary_size=_vocabulary_size(text, folder),
        licence=_licence(folder),
        digest=_digest(folder, weights, known or {}, tell),
        notes=_custom_code_notes(config, folder),
    )


def read_max_positions(folder: Path) -> int:
    """The tokens that the model in ``folder`` can read, as its portrait has them; its weights are not looked at."""
    return _max_positions(_text_part(_read_config(folder)), folder)


def manifest_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a folder that the store made and has just verified, from its manifest."""
    manifest = read_manifest(folder)
    return {} if manifest is None else {name: entry["sha256"] for name, entry in manifest["files"].items()}


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of the model, shards in order. Raises InputError where there are none, or one is missing."""
    index = folder / _WEIGHTS_INDEX
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    if index.is_file():
        names = set(_read_object(index).get("weight_map", {}).values())
        missing = sorted(name for name in names if not (folder / Path(name).name).is_file())
        if names and not missing:
            return sorted(folder / Path(name).name for name in names)
        raise InputError(
            "the model is not whole",
            where=str(folder),
            given=f"without {', '.join(missing[:3])}" if missing else "an index that names no files",
            allowed=f"every file that {_WEIGHTS_INDEX} names",
            hint="fetch the model again",
        )
    raise _no_weights(folder)


def count_parameters(path: Path) -> int:
    """The number of weights in a safetensors file, from its header. Raises InputError for a damaged or cut-off file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
        if path.stat().st_size != end:
            raise ValueError(f"{path.stat().st_size} bytes where its header says {end}")
        return sum(math.prod(entry["shape"]) for entry in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise InputError(
            "not a whole safetensors file",
            where=str(path),
            given=error,
            allowed="a file as it was saved",
            hint="the download or copy broke off: fetch the model again",
        ) from error


def _no_weights(folder: Path) -> InputError:
    files = [path.name for path in sorted(folder.iterdir())]
    pickled = [name for name in files if name.endswith(_PICKLED)]
    packed = [name for name in files if name.endswith(".gguf")]
    if packed:
        hint = f"name the file itself: model: {folder / packed[0]}"
    elif pickled:
        hint = (
            "in an environment where you trust the file: AutoModel.from_pretrained(FOLDER).save_pretrained(OTHER)"
            " writes safetensors"
        )
    elif "adapter_config.json" in files:
        hint = "this is an adapter: merge it into its base first, and name the merged folder"
    else:
        hint = "look at the path; or name a model of the catalogue: tunewright assets list"
    return InputError(
        "the weights are pickled, and reading a pickle can run code" if pickled else "the folder has no weights",
        where=str(folder),
        given=", ".join((pickled or files)[:6]) or "an empty folder",
        allowed=f"model.safetensors, or shards with {_WEIGHTS_INDEX}",
        hint=hint,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if path.is_file():
        config = _read_object(path)
        if config.get("model_type"):
            return config
        problem, given = "config.json does not name its architecture", ", ".join(list(config)[:8]) or "an empty object"
    else:
        problem = "this is no model folder: config.json is missing"
        given = ", ".join(entry.name for entry in sorted(folder.iterdir())[:8]) or "an empty folder"
    nested = [entry.parent for entry in sorted(folder.glob("*/config.json"))]
    raise InputError(
        problem,
        where=str(folder),
        given=given,
        allowed="config.json with model_type, safetensors weights, tokenizer files",
        hint=f"did you mean {nested[0]}?"
        if nested
        else "save_pretrained() of model and tokenizer writes such a folder",
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError("longer than 16 MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("not readable as JSON", where=str(path), given=error, allowed="a JSON object") from error
    return content


def _require_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(
            "the folder has no tokenizer",
            where=str(folder),
            given=", ".join(entry.name for entry in sorted(folder.iterdir())[:8]),
            allowed="one of " + ", ".join(TOKENIZER_FILES),
            hint="copy the tokenizer files of the same model into the folder",
        )


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def _kind(config: Mapping[str, Any], folder: Path) -> Kind:
    name = config["model_type"]
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    if name in _FREQUENT:
        kind: Kind = _FREQUENT[name]
    else:
        kind = _ask_transformers(str(name), folder)
    return "decoder" if kind == "encoder" and config.get("is_decoder") else kind


def _ask_transformers(name: str, folder: Path) -> Kind:
    from transformers.models.auto import modeling_auto

    if name in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    if name in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "encoder"
    if name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "decoder"
    raise InputError(
        "transformers has no language model of this architecture",
        where=str(folder / "config.json"),
        given=f"model_type: {name}",
        allowed="an architecture that the installed transformers has built in",
        hint="code that comes with a model is never run; a newer transformers may know it: pip install -U transformers",
    )


def _max_positions(config: Mapping[str, Any], folder: Path) -> int:
    """In tokens: what the position table holds, and the tokenizer's own limit where the configuration names none."""
    rows = next((config[name] for name in _POSITIONS if isinstance(config.get(name), int) and config[name] > 0), None)
    if rows is not None:
        pad = config.get("pad_token_id")
        is_offset = config.get("model_type") in _OFFSET_POSITIONS
        return int(rows) - (1 + (pad if isinstance(pad, int) else 1) if is_offset else 0)
    path = folder / "tokenizer_config.json"
    limit = _read_object(path).get("model_max_length") if path.is_file() else None
    return int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else _NO_LIMIT


def _vocabulary_size(config: Mapping[str, Any], folder: Path) -> int:
    size = config.get("vocab_size")
    if isinstance(size, int) and size > 0:
        return size
    raise InputError(
        "config.json does not say how large the vocabulary is",
        where=str(folder / "config.json"),
        given=f"vocab_size: {size}",
        allowed="a positive number",
        hint="save the model again with save_pretrained()",
    )


def _licence(folder: Path) -> str:
    """``license:`` in the front matter of README.md, else the name of a licence file, else that it is not stated."""
    card = folder / "README.md"
    if card.is_file():
        with card.open(encoding="utf-8", errors="replace") as file:
            head = file.read(20_000)
        if head.startswith("---"):
            for line in head.split("---")[1].splitlines():
                key, mark, value = line.partition(":")
                if mark and key.strip() == "license" and value.strip():
                    return value.strip().strip("'\"")
    found = sorted(
        path.name for path in folder.iterdir() if path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))
    )
    return f"see {found[0]}" if found else "not stated"


def _custom_code_notes(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    path = folder / "tokenizer_config.json"
    brings_code = "auto_map" in config or (path.is_file() and "auto_map" in _read_object(path))
    return (
        ("brings code of its own, which is never run: transformers' built-in architecture is used",)
        if brings_code
        else ()
    )


def _digest(folder: Path, weights: list[Path], known: Mapping[str, str], tell: Tell) -> str:
    """Over names and contents of the configuration, the weights and the tokenizer files."""
    tokenizer = (folder / name for name in (*TOKENIZER_FILES, "merges.txt", "tokenizer_config.json"))
    files = [folder / "config.json", *weights, *(path for path in tokenizer if path.is_file())]
    hashes = {}
    for number, path in enumerate(files):
        tell("reading the model", number, len(files), path.name)
        hashes[path.name] = known.get(path.name) or sha256_file(path)
    return digest_json(hashes)
