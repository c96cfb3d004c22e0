"""A folder that transformers' ``from_pretrained`` loads: weights, configuration, tokenizer, and how to generate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.deploy.exporter._stock import StockReader, check_head, copy_files, load_stock, load_stock_tokenizer
from tunewright.seams import Reader
from tunewright.store.artifact import Draft


class Transformers:
    """The whole model in the ecosystem's own format."""

    def check(self, model: Mapping[str, Any], folder: Path) -> None:
        """Raise InputError for a classifier whose head is not one of transformers' own."""
        check_head(model, folder)

    def write(self, folder: Path, draft: Draft) -> None:
        """Copy what the run saved, ``tunewright.json`` included: this package can serve the folder, too."""
        copy_files(folder / "model", draft)

    def load(self, folder: Path, base: Path, model: Mapping[str, Any]) -> Reader:
        """The folder through AutoModel and AutoTokenizer."""
        return StockReader(load_stock(folder, model), load_stock_tokenizer(folder), model.get("max_length"))
