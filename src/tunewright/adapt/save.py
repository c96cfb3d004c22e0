"""Save a tuned classifier in the ecosystem's format and load it again.

config.json          the base's, with the label names and the stock class's name
model.safetensors    weights under transformers' names
tokenizer files      as the base had them, with a pad token
tunewright.json      task, options, labels, thresholds, max_length: what `predict` needs besides,
                     and the digests of golden token ids, checked before serving
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from tunewright import extensions
from tunewright.adapt.adapter import save_adapter
from tunewright.adapt.attach import build_classifier, head_settings, is_stock
from tunewright.adapt.classifier import Classifier
from tunewright.adapt.layout import Layout, layout_of
from tunewright.infer.card import CARD, answers_with, read_card, require_card
from tunewright.infer.golden import GOLDEN, golden_ids
from tunewright.infer.load import load_tokenizer, load_trunk, read_config
from tunewright.store.artifact import Draft
from tunewright.types import Adapter, Base, Classified, Floats

WEIGHTS = "model.safetensors"

_TOKENIZER_FILES = (
    "tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "sentencepiece", "chat_template"
)  # fmt: skip

_NOT_TAKEN_OVER = ("_name_or_path", "auto_map", "torch_dtype", "transformers_version")
"""Keys of the base's configuration that are not true of the tuned model, or that name code."""


NOTHING: Mapping[str, object] = MappingProxyType({})


class HeadedTask(Protocol):
    """A bound task whose model is a trunk with a head over labels; ``config`` holds the options that it was made from."""

    config: Any
    labels: tuple[str, ...]
    multi_label: bool
    out_of_scope: str | None

    @property
    def sigmoid(self) -> bool:
        """Whether the outputs are independent probabilities."""
        ...

    @property
    def num_outputs(self) -> int:
        """The width of the head."""
        ...

    def decode(self, logits: Floats) -> Classified:
        """What the logits[N, C] say."""
        ...


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned model ready to answer."""

    task: HeadedTask
    module: torch.nn.Module
    tokenizer: Any
    max_length: int
    thresholds: Mapping[str, float]
    card: Mapping[str, Any]


def save_model(draft: Draft, module: torch.nn.Module, task: HeadedTask, base: Base, card: Mapping[str, object]) -> None:
    """Write the folder described above into ``draft``; ``card`` adds keys to tunewright.json."""
    from safetensors.torch import save_file

    assert isinstance(module, Classifier)
    layout = layout_of(base.architecture, base.kind)
    names = _stored_names(module, layout)
    weights = {names[name]: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    save_file(weights, str(draft.path(WEIGHTS)), metadata={"format": "pt"})
    save_tokenizer(draft, base.folder, load_tokenizer(base.folder))
    draft.write_json("config.json", _config(module, layout, task, base))
    draft.write_json(
        CARD,
        {
            "task": type(task).__module__.rpartition(".")[2],  # an extension's name is its file's name
            "options": task.config.model_dump(mode="json"),
            "labels": list(task.labels),
            "multi_label": task.multi_label,
            "architecture": base.architecture,
            "kind": base.kind,
            "base": base.name,
            "licence": base.licence,
            "stock_class": layout.stock_class if is_stock(layout, task.config) else None,
            GOLDEN: golden_ids(load_tokenizer(base.folder)),
            **card,
        },
    )


def save_classifier_adapter(
    draft: Draft, adapter: Adapter, module: torch.nn.Module, task: HeadedTask, base: Base
) -> None:
    """Write the adapter of a classifier for peft: over the stock class with its head, or else over the plain trunk."""
    assert isinstance(module, Classifier)
    layout = layout_of(base.architecture, base.kind)
    if not is_stock(layout, task.config):
        save_adapter(draft, adapter, base, trunk_name="", task_type="FEATURE_EXTRACTION")
        return
    trunk: Any = module.trunk
    stored = _stored_names(module, layout)
    head = {stored[name]: value for name, value in module.state_dict().items() if name.startswith("head.")}
    save_adapter(draft, adapter, base, trunk_name=trunk.base_model_prefix, task_type="SEQ_CLS", head=head)


def load_model(folder: Path) -> Tuned:
    """The tuned classifier in ``folder`` (a run's ``model`` folder). Raises InputError if it holds no tuned model."""
    card = require_card(folder)
    assert answers_with(card) == "labels", folder
    task = _rebuild_task(card)
    module = load_weights(folder, task, card["architecture"], card["kind"])
    return Tuned(task, module, load_tokenizer(folder), card["max_length"], card["thresholds"], card)


def load_weights(folder: Path, task: HeadedTask, architecture: str, kind: str) -> Classifier:
    """The classifier whose weights ``save_model`` wrote. Raises InputError if any is missing."""
    layout = layout_of(architecture, kind)
    module = build_classifier(load_trunk(folder), layout, task.config, task.num_outputs, seed=0)
    _load_head(module, folder, layout)
    return module.eval()


def take_up_head(module: Classifier, base: Base, task: HeadedTask) -> bool:
    """Go on with the head of an earlier run where ``base`` is one for the same labels and the same kind of head."""
    card = read_card(base.folder)
    if (
        card is None
        or answers_with(card) != "labels"
        or (card["labels"], card["multi_label"]) != (list(task.labels), task.multi_label)
    ):
        return False
    layout = layout_of(base.architecture, base.kind)
    if _shape_of_head(layout, _rebuild_task(card)) != _shape_of_head(layout, task):
        return False
    _load_head(module, base.folder, layout)
    return True


def _shape_of_head(layout: Layout, task: HeadedTask) -> tuple[object, ...]:
    return task.num_outputs, head_settings(layout, task.config)


def _load_head(module: Classifier, folder: Path, layout: Layout) -> None:
    from safetensors import safe_open

    names = _stored_names(module, layout)
    with safe_open(folder / WEIGHTS, framework="pt") as stored:
        head = {name: stored.get_tensor(names[f"head.{name}"]) for name in module.head.state_dict()}
    module.head.load_state_dict(head)


def _rebuild_task(card: Mapping[str, Any]) -> HeadedTask:
    kind: Any = extensions.load("adapt.task", card["task"])
    task: HeadedTask = kind(kind.Config(**card["options"])).with_labels(card["labels"], multi_label=card["multi_label"])
    return task


def _stored_names(module: Classifier, layout: Layout) -> dict[str, str]:
    """Own name -> transformers' name of every weight; the trunk's go under the prefix that transformers looks for."""
    trunk: Any = module.trunk
    prefixes = {
        "trunk.": f"{trunk.base_model_prefix}.",
        "head.dense.": f"{layout.dense}.",
        "head.output.": f"{layout.output}.",
    }
    return {
        name: stored + name.removeprefix(own)
        for name in module.state_dict()
        for own, stored in prefixes.items()
        if name.startswith(own)
    }


def kept_config(base: Base) -> dict[str, Any]:
    """The base's configuration without what is not true of a tuned model, or names code."""
    return {name: value for name, value in read_config(base.folder).items() if name not in _NOT_TAKEN_OVER}


def _config(module: Classifier, layout: Layout, task: HeadedTask, base: Base) -> dict[str, object]:
    config = kept_config(base)
    labels = task.labels if task.num_outputs > 1 else (task.labels[-1],)
    config.update(
        id2label={str(index): label for index, label in enumerate(labels)},
        label2id={label: index for index, label in enumerate(labels)},
        num_labels=task.num_outputs,
        problem_type="multi_label_classification" if task.sigmoid else "single_label_classification",
        dtype="float32",
    )
    if is_stock(layout, task.config):
        config["architectures"] = [layout.stock_class]
    if layout.dropout_options:
        config[layout.dropout_options[0]] = module.head.dropout.p
    tokenizer = load_tokenizer(base.folder)
    pad = _pad_token(tokenizer)
    if pad is not None and (layout.pooling == "last" or config.get("pad_token_id") is None):
        config["pad_token_id"] = tokenizer.convert_tokens_to_ids(pad)  # the stock class finds the last token by it
    return config


def save_tokenizer(draft: Draft, folder: Path, tokenizer: Any, settings: Mapping[str, object] = NOTHING) -> None:
    """The tokenizer's files as they are; its configuration with a pad token, and with ``settings``."""
    name = "tokenizer_config.json"
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.startswith(_TOKENIZER_FILES) and path.name != name:
            draft.write_bytes(path.name, path.read_bytes())
    pad = _pad_token(tokenizer)
    if tokenizer.pad_token is None and pad is not None:
        settings = {"pad_token": pad, **settings}
    if settings:
        known = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
        draft.write_json(name, {**known, **settings})
    elif (folder / name).is_file():
        draft.write_bytes(name, (folder / name).read_bytes())


def _pad_token(tokenizer: Any) -> str | None:
    """What the stock class may pad with: the pad token, or where the tokenizer names none, its end-of-text token."""
    token: str | None = tokenizer.pad_token or tokenizer.eos_token
    return token
