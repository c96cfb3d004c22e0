"""``./my-model``: a transformers folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tunewright.errors import InputError, nearest
from tunewright.model.source.base import Description, Fetched, Order


class Folder:
    """A folder with config.json, safetensors weights and a tokenizer; used where it is."""

    def recognise(self, name: str) -> float:
        """Sure of a folder that exists, and rather sure of what can only be a path."""
        path = Path(name).expanduser()
        if name and path.is_dir():
            return 0.9
        looks_like_path = name.startswith((".", "~", os.sep)) or name.endswith(os.sep) or path.is_absolute()
        return 0.6 if looks_like_path or (name and path.is_file()) else 0.0

    def describe(self, name: str) -> Description:
        """The folder's name; its licence is known once it is read."""
        return Description(title=f"folder {_existing(name)}", licence="", download_bytes=0)

    def fetch(self, order: Order) -> Fetched:
        """The folder as it is."""
        folder = _existing(order.name)
        return Fetched(folder=folder, source=str(folder))


def _existing(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        return path
    parent = path.parent
    neighbours = [entry.name for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    suggestion = nearest(path.name, neighbours)
    raise InputError(
        "a model cannot be read from a single file" if path.is_file() else "there is no such folder",
        where="model.name",
        given=name,
        allowed="a folder with config.json and safetensors weights, or a file that ends in .gguf",
        hint=f"did you mean {parent / suggestion}?" if suggestion else "tunewright assets list shows models by name",
    )
