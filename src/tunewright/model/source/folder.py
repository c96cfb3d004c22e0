"""``./my-model``: a transformers folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tunewright.errors import InputError
from tunewright.model.source.base import Description, Fetched, Order
from tunewright.store.runs import nearest_folder


class Folder:
    """A folder with config.json, safetensors weights and a tokenizer; used where it is."""

    def recognise(self, name: str) -> float:
        """Sure of a folder that exists, and surer than a hub of what looks like a path, so that a slip asks no hub."""
        path = Path(name).expanduser()
        if name and path.is_dir():
            return 0.9
        if name.startswith((".", "~", os.sep, "runs/")) or name.endswith(os.sep) or path.is_absolute():
            return 0.8
        is_below = not set(":@") & set(name) and "/" in name and (name.count("/") > 1 or path.parent.is_dir())
        return 0.8 if is_below else 0.6 if name and path.is_file() else 0.0

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
    close = nearest_folder(Path(name).expanduser())
    raise InputError(
        "a model cannot be read from a single file"
        if path.is_file()
        else "there is no run in this folder, and no model",
        where="model.name",
        given=name,
        allowed="the folder of a run, one with config.json and safetensors weights, or a file that ends in .gguf",
        hint=f"did you mean {close}?" if close else "tunewright runs list, or tunewright assets list",
    )
