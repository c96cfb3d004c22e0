"""A GGUF file, whole or in parts, becomes a transformers folder with safetensors weights, through transformers' reader."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.assets.convert.base import Material
from tunewright.errors import CorruptError, InputError
from tunewright.store.artifact import Draft

_JOINED = "joined.gguf"
_MAX_F32_PARAMETERS = 1_500_000_000
"""Up to this size the widened weights are kept in f32, above it in bf16, to halve the disk that they take."""


class Gguf:
    """The members are the file, or its parts in order. Its weights are widened from the few bits they were stored in."""

    def convert(self, material: Material, draft: Draft) -> tuple[str, ...]:
        """Write the folder; the note says in which form the tensors were stored. Takes up to a minute.

        Raises CorruptError for what is no GGUF file, InputError for an architecture that transformers does not read.
        """
        name = next(iter(material.members))
        joined = draft.path(_JOINED)
        _join(list(material.members.values()), joined)
        stored, num_parameters = _inspect(joined, name)
        with _silent():
            try:
                _save(joined, draft.folder, material, is_f32=num_parameters <= _MAX_F32_PARAMETERS)
            except (OSError, MemoryError):
                raise
            except Exception as error:
                raise InputError(
                    "transformers cannot read this GGUF file",
                    where=name,
                    given=error,
                    allowed="an architecture and a tokenizer that it knows, for instance llama, qwen2, qwen3, gemma3",
                    hint="use the same model as a folder with safetensors weights",
                ) from error
        joined.unlink()
        kinds = ", ".join(f"{count} {kind}" for kind, count in stored.most_common())
        return (f"tensors as they were stored: {kinds}",)


def _join(parts: list[Path], target: Path) -> None:
    parts[0].rename(target)
    with target.open("ab") as joined:
        for part in parts[1:]:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, 1 << 20)


def _inspect(path: Path, name: str) -> tuple[Counter[str], int]:
    """How many tensors are stored in which form, and the number of parameters."""
    from gguf import GGUFReader

    try:
        tensors = GGUFReader(path).tensors
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise CorruptError("not a whole GGUF file", where=name, given=error) from error
    if not tensors:
        raise CorruptError("a GGUF file without tensors", where=name)
    return Counter(tensor.tensor_type.name for tensor in tensors), sum(int(tensor.n_elements) for tensor in tensors)


def _save(path: Path, folder: Path, material: Material, *, is_f32: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    material.tell("widening the weights", 0, 3, "1 of 3, up to a minute")
    config = AutoConfig.from_pretrained(path.parent, **source)
    family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    dtype = torch.float32 if is_f32 else torch.bfloat16
    read = family.from_pretrained(path.parent, dtype=dtype, **_dequantized(), **source)
    material.tell("building the tokenizer", 1, 3, "2 of 3, up to half a minute")
    AutoTokenizer.from_pretrained(path.parent, **source).save_pretrained(folder)
    material.tell("writing the weights", 2, 3, "3 of 3")
    # A model that came from a GGUF file counts as quantised and refuses to be saved: its weights move to a plain one.
    with torch.device("meta"):
        plain = family.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder, max_shard_size="4GB")
    material.tell("writing the weights", 3, 3, "done")


def _dequantized() -> dict[str, Any]:
    """Releases that can keep the weights packed are told not to; earlier ones have no such choice."""
    import transformers

    choice = getattr(transformers, "GgufConfig", None)
    return {} if choice is None else {"quantization_config": choice(dequantize=True)}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep transformers' own bars and remarks from the terminal; progress is told by us."""
    from transformers.utils import logging as chatter

    verbosity = chatter.get_verbosity()
    chatter.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        chatter.set_verbosity(verbosity)
