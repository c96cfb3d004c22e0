"""The adapter alone, in peft's format: small, and loaded over the untouched base."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.deploy.exporter._stock import StockReader, check_head, copy_files, load_stock, load_stock_tokenizer
from tunewright.deploy.usage import num_outputs
from tunewright.errors import InputError
from tunewright.seams import Reader
from tunewright.store.artifact import Draft

CONFIG = "adapter_config.json"
PLACES = ("adapter", "model/adapter")
WHOLE_MODEL = ("model.safetensors", "model-", "pytorch_model", "config.json")


class Adapter:
    """What a run with the method lora, qlora or ia3 trained beside its base."""

    def check(self, model: Mapping[str, Any], folder: Path) -> None:
        """Raise InputError where the run has no adapter, or one without the head that belongs to it."""
        _place(folder)
        check_head(model, folder)

    def write(self, folder: Path, draft: Draft) -> None:
        """Copy the adapter, and the tokenizer that it was trained with."""
        copy_files(_place(folder), draft)
        copy_files(folder / "model", draft, but=WHOLE_MODEL)

    def load(self, folder: Path, base: Path, model: Mapping[str, Any]) -> Reader:
        """peft's model over the stock class of the base."""
        from peft import PeftModel

        labels = model.get("labels") or []
        is_single = model.get("options", {}).get("output") == "sigmoid" and not model.get("multi_label")
        options = {"num_labels": 1 if is_single else num_outputs(model)} if labels else {}
        stock = load_stock(base, model, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # peft asks under the older name
            adapted: Any = PeftModel.from_pretrained(stock, str(folder))
        return StockReader(adapted, load_stock_tokenizer(folder, model), model.get("max_length"))


def _place(folder: Path) -> Path:
    for name in PLACES:
        path = folder / name / CONFIG
        if path.is_file() and isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
            return path.parent
    raise InputError(
        "this run has no adapter",
        where=str(folder),
        given="a run that trained the weights themselves",
        allowed="a run with the method lora, qlora or ia3",
        hint="--format transformers",
    )
