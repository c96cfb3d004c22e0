"""A model loaded by transformers' own classes, asked about one row at a time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tunewright.errors import InputError
from tunewright.infer.card import answers_with, writes_text
from tunewright.infer.load import quiet
from tunewright.store.artifact import Draft
from tunewright.store.manifest import MANIFEST
from tunewright.types import Floats

STOCK_CLASSES = {
    "text": "AutoModelForCausalLM",
    "labels": "AutoModelForSequenceClassification",
    "spans": "AutoModelForTokenClassification",
}
"""What a model answers with -> transformers' class for it."""


class StockReader:
    """transformers' model and tokenizer, called as their documentation calls them."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int | None) -> None:
        """``max_length`` in tokens cuts texts; conversations are read whole."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._max_length = max_length

    def encode(self, row: Any) -> list[int]:
        """Token ids of a text, or of the messages of a conversation by the tokenizer's own template."""
        if isinstance(row, str):
            encoded = self._tokenizer(row, truncation=True, max_length=self._max_length)
        else:
            text = self._tokenizer.apply_chat_template(row, tokenize=False)
            encoded = self._tokenizer(text, add_special_tokens=False)
        ids: list[int] = encoded["input_ids"]
        return ids

    def logits(self, ids: Sequence[int]) -> Floats:
        """Logits[P, C] of one row."""
        with torch.no_grad():
            logits = self._model(input_ids=torch.tensor([list(ids)])).logits.double().numpy()
        found: Floats = logits.reshape(-1, logits.shape[-1])
        return found


def load_stock(folder: Path, model: Mapping[str, Any], **options: Any) -> Any:
    """The stock class for this task with the weights of ``folder``, in fp32. Raises InputError where it does not load."""
    import transformers

    quiet()
    kind: Any = getattr(transformers, STOCK_CLASSES[answers_with(model)])
    try:
        return kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        raise InputError(
            "transformers does not load this folder",
            where=str(folder),
            given=str(error),
            allowed="config.json of a built-in architecture, and all its weights in safetensors",
        ) from error


def load_stock_tokenizer(folder: Path, model: Mapping[str, Any]) -> Any:
    """The tokenizer of ``folder`` as AutoTokenizer loads it. Raises InputError for a chat model's without a template."""
    from transformers import AutoTokenizer

    quiet()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if writes_text(model) and not tokenizer.chat_template:
        raise InputError(
            "the tokenizer of this model has no chat template, so nobody else can talk to it",
            where=str(folder),
            allowed="chat_template.jinja beside the tokenizer",
            hint="train again with this version, which saves the template that it trains with",
        )
    return tokenizer


def check_head(model: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError for a model whose head is not one of transformers' own."""
    if not writes_text(model) and not model["stock_class"]:
        head = {name: model["options"][name] for name in ("pooling", "activation") if name in model["options"]}
        told = f" with {', '.join(f'task.{k}={v}' for k, v in head.items())}" if head else ""
        raise InputError(
            "this model has a head that no class of transformers computes",
            where=str(folder),
            given=f"{model['architecture']}{told}",
            allowed="the stock head of a known architecture: task.pooling=auto task.activation=auto",
            hint=f"use it through this package (tunewright serve {folder}), or train it again with the stock head",
        )


def copy_files(source: Path, draft: Draft, *, but: tuple[str, ...] = ()) -> None:
    """Every file of a folder but its manifest, its own card, and those that begin with ``but``."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith((".", MANIFEST, "README", *but)):
            shutil.copyfile(path, draft.path(path.name))
