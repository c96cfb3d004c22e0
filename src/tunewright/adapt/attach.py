"""Attach a classification head to a base: the stock head of its architecture unless the task's options say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from tunewright.adapt.classifier import Classifier, Head
from tunewright.adapt.layout import Layout, layout_of
from tunewright.infer.load import load_trunk
from tunewright.types import Base

if TYPE_CHECKING:
    from collections.abc import Mapping

POOLER = ("pooler.dense.weight", "pooler.dense.bias")
"""Names under which BERT-class bases ship the dense layer that the stock head starts from."""


class HeadOptions(Protocol):
    """What a head needs to know of a task's options."""

    pooling: Any
    activation: Any
    dropout: float


class HeadedTask(Protocol):
    """A task that classifies whole texts."""

    @property
    def config(self) -> Any:
        """Holds the HeadOptions."""
        ...

    @property
    def num_outputs(self) -> int:
        """The width of the head."""
        ...


def attach_head(base: Base, task: HeadedTask, seed: int) -> Classifier:
    """The trunk of ``base`` with a fresh head; weights of the head depend on ``seed`` alone."""
    layout = layout_of(base.architecture, base.kind)
    classifier = build_classifier(load_trunk(base.folder), layout, task, seed)
    pooler = read_pooler(base)
    if classifier.head.dense is not None and pooler is not None:
        weight, bias = pooler
        with torch.no_grad():
            classifier.head.dense.weight.copy_(weight)
            classifier.head.dense.bias.copy_(bias)
    return classifier


def build_classifier(trunk: torch.nn.Module, layout: Layout, task: HeadedTask, seed: int) -> Classifier:
    """A classifier over ``trunk`` with a head as the task's options and the layout say."""
    options: HeadOptions = task.config
    pooling, activation = head_settings(layout, options)
    width = int(trunk.config.hidden_size)  # type: ignore[union-attr,arg-type]  # transformers' config on an nn.Module
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(width, task.num_outputs, layout, activation=activation, dropout=options.dropout)
    return Classifier(trunk, head, pooling)


def head_settings(layout: Layout, options: HeadOptions) -> tuple[Any, str]:
    """Pooling and activation with ``auto`` resolved to the stock head's."""
    pooling = layout.pooling if options.pooling == "auto" else options.pooling
    activation = layout.activation if options.activation == "auto" else options.activation
    return pooling, activation


def is_stock(layout: Layout, options: HeadOptions) -> bool:
    """Whether transformers' own sequence classification class computes the same."""
    pooling, activation = head_settings(layout, options)
    return (
        bool(layout.stock_class) and pooling == layout.pooling and (not layout.dense or activation == layout.activation)
    )


def read_pooler(base: Base) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Weight[H, H] and bias[H] of the base's pooler, or None where it ships none."""
    from safetensors import safe_open

    for path in sorted(base.folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            names: Mapping[str, str] = {name.removeprefix(f"{base.architecture}."): name for name in weights.keys()}  # noqa: SIM118
            if all(name in names for name in POOLER):
                weight, bias = (weights.get_tensor(names[name]).float() for name in POOLER)
                return weight, bias
    return None
