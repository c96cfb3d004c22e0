"""Attach a classification head to a base: the stock head of its architecture unless the task's options say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from tunewright.adapt.classifier import Classifier, Head
from tunewright.adapt.layout import Layout, Pooling, layout_of, stock_dropout
from tunewright.errors import InputError
from tunewright.infer.load import load_trunk
from tunewright.types import Base

if TYPE_CHECKING:
    from collections.abc import Mapping

POOLER = "pooler.dense"
"""The dense layer that BERT-class bases ship and that their stock head starts from."""


class HeadOptions(Protocol):
    """What a head needs to know of a task's options; ``auto`` and None leave it to the architecture."""

    @property
    def pooling(self) -> str:
        """Which state stands for the text."""
        ...

    @property
    def activation(self) -> str:
        """Activation of the dense layer."""
        ...

    @property
    def dropout(self) -> float | None:
        """Dropout while training."""
        ...


def attach_head(base: Base, options: HeadOptions, num_outputs: int, seed: int) -> Classifier:
    """The trunk of ``base`` with a fresh head; weights of the head depend on ``seed`` alone. Raises InputError."""
    if base.kind == "encoder-decoder":
        raise InputError(
            "a model of this kind cannot classify",
            where="model.name",
            given=f"{base.name} ({base.architecture}, an encoder with a decoder)",
            allowed="an encoder (such as minilm-l6) or a decoder (such as smollm2-135m-instruct)",
            hint="model=minilm-l6",
        )
    layout = layout_of(base.architecture, base.kind)
    classifier = build_classifier(load_trunk(base.folder), layout, options, num_outputs, seed)
    if classifier.head.dense is not None and layout.dense.endswith(POOLER) and (pooler := read_pooler(base)):
        classifier.head.dense.load_state_dict(pooler)
    return classifier


def build_classifier(
    trunk: torch.nn.Module, layout: Layout, options: HeadOptions, num_outputs: int, seed: int
) -> Classifier:
    """A classifier over ``trunk`` with a head as the options and the layout say."""
    config: Any = trunk.config
    pooling, activation = head_settings(layout, options)
    dropout = stock_dropout(layout, config) if options.dropout is None else options.dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(config.hidden_size, num_outputs, layout, activation=activation, dropout=dropout)
    return Classifier(trunk, head, pooling)


def head_settings(layout: Layout, options: HeadOptions) -> tuple[Pooling, str]:
    """Pooling and activation with ``auto`` resolved to the stock head's."""
    pooling = layout.pooling if options.pooling == "auto" else cast("Pooling", options.pooling)
    return pooling, layout.activation if options.activation == "auto" else options.activation


def is_stock(layout: Layout, options: HeadOptions) -> bool:
    """Whether transformers' own sequence classification class computes the same."""
    pooling, activation = head_settings(layout, options)
    same_activation = not layout.dense or activation == layout.activation
    return bool(layout.stock_class) and pooling == layout.pooling and same_activation


def read_pooler(base: Base) -> Mapping[str, torch.Tensor] | None:
    """``weight[H, H]`` and ``bias[H]`` of the base's pooler, or None where it ships none."""
    from safetensors import safe_open

    for path in sorted(base.folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            found = {
                name.rpartition(".")[2]: weights.get_tensor(name).float()
                for name in weights.keys()  # noqa: SIM118 - not a mapping
                if name.removeprefix(f"{base.architecture}.").startswith(f"{POOLER}.")
            }
        if found:
            return found
    return None
