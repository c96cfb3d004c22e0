"""A module of a few dozen weights that reads flattened batches, so that the loop can be tested without a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunewright.store.checkpoints import CheckpointStore
from tunewright.store.events import EventLog
from tunewright.train.batches import Examples
from tunewright.train.config import Train
from tunewright.train.train import Fit, Watch
from tunewright.types import Batch, Choice, Floats, Objective, Phase, Plan, Trainable


class BagOfWords(nn.Module):
    """The mean of a segment's embeddings, dropout, and a linear layer: Batch -> logits[N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.dropout = nn.Dropout(0.1)
        self.output = nn.Linear(8, 3)

    def forward(self, batch: Batch) -> torch.Tensor:
        stream = batch.streams["source"]
        states = [self.embedding(segment).mean(dim=0) for segment in stream.ids.tensor_split(stream.bounds[1:-1])]
        logits: torch.Tensor = self.output(self.dropout(torch.stack(states)))
        return logits


@pytest.fixture
def module() -> BagOfWords:
    """The same weights each time."""
    torch.manual_seed(0)
    return BagOfWords()


def random_examples(num_rows: int, seed: int = 0) -> Examples:
    """Rows of 1 to 12 tokens; the label is told by the first token."""
    random = np.random.default_rng(seed)
    ids = [random.integers(0, 50, random.integers(1, 13)) for _ in range(num_rows)]
    targets = torch.tensor([[float(row[0] % 3)] for row in ids])
    return Examples(ids, targets, np.arange(num_rows) + 1000)


@pytest.fixture
def make_examples() -> Callable[..., Examples]:
    return random_examples


def plan(**decided: object) -> Plan:
    """What the probe would have decided."""
    values = {
        "device": "cpu",
        "threads": 1,
        "dtype": "fp32",
        "kernels": "torch",
        "recompute": False,
        "token_budget": 1000,
        "epochs": 2,
        "lr": 0.05,
    }
    return Plan(tuple(Choice(f"train.{name}", value, "test") for name, value in {**values, **decided}.items()))


@pytest.fixture
def make_fit() -> Callable[..., Fit]:
    def make(module: nn.Module, *, decided: Mapping[str, object] = MappingProxyType({}), **options: Any) -> Fit:
        config = Train.Config(**{"batch_size": 4, **options})
        trainable = Trainable(module, (Phase(Objective("cross_entropy")),))
        return Fit(trainable=trainable, plan=plan(**decided), config=config, seed=7)

    return make


@dataclass
class Bench:
    """A training with everything around it in one folder; ``scores`` are handed out one an evaluation, then accuracy."""

    folder: Path
    validation: Examples = field(default_factory=lambda: random_examples(9, seed=1))
    higher_is_better: bool = True
    scores: list[float | None] = field(default_factory=list)
    asked_to_stop: Callable[[], bool] = lambda: False
    told: list[tuple[str, float, float | None, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.checkpoints = CheckpointStore(self.folder / "checkpoints", keep_last=1)
        self.events = EventLog(self.folder / "events.jsonl")

    def watch(self) -> Watch:
        return Watch(
            validation=self.validation,
            score=self.score,
            metric="accuracy",
            higher_is_better=self.higher_is_better,
            checkpoints=self.checkpoints,
            events=self.events,
            asked_to_stop=self.asked_to_stop,
            tell=lambda *facts: self.told.append(facts),
        )

    def score(self, logits: Floats) -> Mapping[str, float | None]:
        right = logits.argmax(axis=1) == self.validation.targets[:, 0].numpy()
        return {"accuracy": self.scores.pop(0) if self.scores else float(right.mean())}


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(name: str = "run", **options: Any) -> Bench:
        return Bench(tmp_path / name, **options)

    return make
