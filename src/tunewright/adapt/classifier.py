"""A trunk with a classification head that reads flattened batches.

Shape letters: T tokens, N examples (one segment each), H hidden width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from tunewright.adapt.layout import Layout, Pooling
from tunewright.infer.forward import run_trunk
from tunewright.infer.predict import mean_states
from tunewright.types import Batch

ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "gelu": nn.functional.gelu,
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "none": lambda hidden: hidden,
}


class Head(nn.Module):
    """Pooled state[N, H] -> logits[N, C]: an optional dense layer with its activation, dropout, and the output layer."""

    def __init__(self, width: int, num_outputs: int, layout: Layout, *, activation: str, dropout: float) -> None:
        """Fresh weights: normal with deviation 0.02, biases zero (the initialisation of BERT, section A.2)."""
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)
        self.dropout_before_dense = layout.dropout_before_dense
        self.dense = nn.Linear(width, width) if layout.dense else None
        self.output = nn.Linear(width, num_outputs, bias=layout.output_bias)
        for layer in (self.dense, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, pooled_NH: torch.Tensor) -> torch.Tensor:
        """Logits[N, C]."""
        if not torch.is_autocast_enabled(pooled_NH.device.type):
            pooled_NH = pooled_NH.to(self.output.weight.dtype)
        if self.dense is not None:
            before = self.dropout(pooled_NH) if self.dropout_before_dense else pooled_NH
            pooled_NH = self.activation(self.dense(before))
        logits_NC: torch.Tensor = self.output(self.dropout(pooled_NH))
        return logits_NC


class Classifier(nn.Module):
    """The trunk and the head as one module: Batch -> logits[N, C]."""

    def __init__(self, trunk: nn.Module, head: Head, pooling: Pooling) -> None:
        """Hold both halves; ``pooling`` says which state of a segment stands for it."""
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.pooling = pooling

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits[N, C], one row per segment of the ``source`` stream."""
        logits_NC: torch.Tensor = self.head(self.pool(batch))
        return logits_NC

    def pool(self, batch: Batch) -> torch.Tensor:
        """The state[N, H] that stands for each segment."""
        if self.pooling == "mean":
            return mean_states(self.trunk, batch)
        stream = batch.streams["source"]
        at_N = stream.bounds[:-1] if self.pooling == "first" else stream.bounds[1:] - 1
        return run_trunk(self.trunk, stream, at_N)
