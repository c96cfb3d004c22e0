"""Save a tuned classifier in the ecosystem's format and load it again.

config.json          the base's, with the label names and the stock class's name
model.safetensors    weights under transformers' names
tokenizer files      as the base had them
tunewright.json      task, options, labels, thresholds, max_length: what `predict` needs besides
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunewright import extensions
from tunewright.adapt.attach import build_classifier, is_stock
from tunewright.adapt.classifier import Classifier
from tunewright.adapt.layout import Layout, layout_of
from tunewright.adapt.task.classify import Classify
from tunewright.errors import InputError
from tunewright.infer.load import load_tokenizer, read_config
from tunewright.store.artifact import Draft
from tunewright.types import Base

CARD = "tunewright.json"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned model ready to answer."""

    task: Classify
    module: torch.nn.Module
    tokenizer: Any
    max_length: int
    thresholds: Mapping[str, float]
    card: Mapping[str, Any]


def save_model(draft: Draft, module: torch.nn.Module, task: Classify, base: Base, card: Mapping[str, object]) -> None:
    """Write the folder described above into ``draft``; ``card`` adds keys to tunewright.json."""
    from safetensors.torch import save_file

    assert isinstance(module, Classifier)
    layout = layout_of(base.architecture, base.kind)
    weights = {_stored_name(name, layout): value.detach().contiguous() for name, value in module.state_dict().items()}
    save_file(weights, str(draft.path("model.safetensors")), metadata={"format": "pt"})
    draft.write_json("config.json", _config(base, layout, task))
    for path in sorted(base.folder.iterdir()):
        if path.is_file() and _belongs_to_tokenizer(path.name):
            shutil.copyfile(path, draft.path(path.name))
    pad = _pad_token(base.folder)
    if pad is not None:
        _set_pad_token(draft, pad)
    draft.write_json(
        CARD,
        {
            "task": "classify",
            "options": task.config.model_dump(),
            "labels": list(task.labels),
            "multi_label": task.multi_label,
            "architecture": base.architecture,
            "kind": base.kind,
            "base": base.name,
            "licence": base.licence,
            "stock_class": layout.stock_class if is_stock(layout, task.config) else None,
            **card,
        },
    )


def load_model(folder: Path) -> Tuned:
    """The tuned model in ``folder`` (a run's ``model`` folder). Raises InputError if it holds none."""
    card_path = folder / CARD
    if not card_path.is_file():
        raise InputError(
            "there is no tuned model here",
            where=str(folder),
            allowed=f"the model folder of a finished run, with {CARD}",
            hint="tunewright runs list",
        )
    card: dict[str, Any] = json.loads(card_path.read_text(encoding="utf-8"))
    task_class = extensions.load("adapt.task", card["task"])
    task = task_class(task_class.Config(**card["options"])).with_labels(  # type: ignore[attr-defined]
        card["labels"], multi_label=card["multi_label"], label_counts={}
    )
    module = load_weights(folder, task, card["architecture"], card["kind"])
    return Tuned(task, module, load_tokenizer(folder), card["max_length"], card["thresholds"], card)


def load_weights(folder: Path, task: Classify, architecture: str, kind: str) -> Classifier:
    """The classifier whose weights ``save_model`` wrote."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    from tunewright.infer.load import WITH_POOLING_LAYER, quiet

    layout = layout_of(architecture, kind)
    options: dict[str, Any] = {"add_pooling_layer": False} if architecture in WITH_POOLING_LAYER else {}
    from transformers.utils import logging

    quiet(logging)
    trunk = AutoModel.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32, **options)
    module = build_classifier(trunk, layout, task, seed=0)
    stored = load_file(str(folder / "model.safetensors"))
    names = {_stored_name(name, layout): name for name in module.state_dict()}
    module.load_state_dict({names[name]: value for name, value in stored.items()}, strict=True)
    return module.eval()


def _stored_name(name: str, layout: Layout) -> str:
    for own, stored in (
        ("trunk.", f"{layout.trunk}."),
        ("head.dense.", f"{layout.dense}."),
        ("head.output.", f"{layout.output}."),
    ):
        if name.startswith(own):
            return stored + name.removeprefix(own)
    raise AssertionError(name)


def _config(base: Base, layout: Layout, task: Classify) -> dict[str, object]:
    config = read_config(base.folder)
    labels = task.labels if task.num_outputs > 1 else (task.labels[-1],)
    config.update(
        architectures=[layout.stock_class] if is_stock(layout, task.config) else config.get("architectures"),
        id2label={str(index): label for index, label in enumerate(labels)},
        label2id={label: index for index, label in enumerate(labels)},
        num_labels=task.num_outputs,
        problem_type="multi_label_classification" if task.sigmoid else "single_label_classification",
        classifier_dropout=task.config.dropout,
        dtype="float32",
    )
    pad = _pad_token(base.folder)
    if pad is not None and config.get("pad_token_id") is None:
        config["pad_token_id"] = load_tokenizer(base.folder).convert_tokens_to_ids(pad)
    return config


def _belongs_to_tokenizer(name: str) -> bool:
    return name.startswith(
        ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "sentencepiece")
    )


def _pad_token(folder: Path) -> str | None:
    """The token that the stock class may pad with where the tokenizer names none: its end-of-text token."""
    tokenizer = load_tokenizer(folder)
    return None if tokenizer.pad_token is not None else tokenizer.eos_token


def _set_pad_token(draft: Draft, pad: str) -> None:
    path = draft.folder / "tokenizer_config.json"
    settings: dict[str, object] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.unlink(missing_ok=True)
    draft.write_json("tokenizer_config.json", {**settings, "pad_token": pad})
