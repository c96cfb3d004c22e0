"""A folder that transformers' ``from_pretrained`` loads: weights, configuration, tokenizer, and how to generate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.deploy.exporter._stock import (
    StockReader,
    check_head,
    copy_files,
    load_stock,
    load_stock_tokenizer,
)
from tunewright.infer.card import require_card, writes_text
from tunewright.infer.load import load_tokenizer
from tunewright.infer.template import ChatTemplate
from tunewright.seams import Reader
from tunewright.store.artifact import Draft

GENERATION = "generation_config.json"


class Transformers:
    """The whole model in the ecosystem's own format."""

    def check(self, model: Mapping[str, Any], folder: Path) -> None:
        """Raise InputError for a classifier whose head is not one of transformers' own."""
        check_head(model, folder)

    def write(self, folder: Path, draft: Draft) -> None:
        """Copy what the run saved, ``tunewright.json`` included: this package can serve the folder, too.

        A chat model's settings for generating name every token that ends its turn, so that it stops by itself elsewhere.
        """
        source = folder / "model"
        copy_files(source, draft, but=(GENERATION,))
        path = source / GENERATION
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if writes_text(require_card(source)):
            known["eos_token_id"] = list(ChatTemplate.of(source, load_tokenizer(source)).stop_ids)
        if known:
            draft.write_json(GENERATION, known)

    def load(self, folder: Path, base: Path, model: Mapping[str, Any]) -> Reader:
        """The folder through AutoModel and AutoTokenizer."""
        return StockReader(load_stock(folder, model), load_stock_tokenizer(folder, model), model.get("max_length"))
