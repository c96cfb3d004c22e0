"""Three processes train small models, as two ranks and then as three. A program of its own, started by tests.

    python ranks_program.py NUMBER FOLDER

Rank 0 writes the losses of every case into FOLDER/losses.json; the test trains the same cases alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tunewright.infer.native.build import built
from tunewright.store.checkpoints import CheckpointStore
from tunewright.train.batches import Examples
from tunewright.train.config import Train
from tunewright.train.ranks import Alone, Group
from tunewright.train.train import Fit, make_loop
from tunewright.types import Batch, Choice, Floats, Objective, Phase, Plan, Trainable

STEPS = 6
CASES: dict[str, Mapping[str, Any]] = {
    "plain": {},
    "accumulation": {"token_budget": 12},
    "sgd": {"optimizer": "sgd"},
    "fewer rows than ranks": {"num_rows": 13, "batch_size": 12},
    "bf16": {"dtype": "bf16"},
}
if built().library is not None:
    CASES |= {"kernels": {"kernels": "native"}, "bf16 by kernels": {"kernels": "native", "dtype": "bf16"}}


class Layers(nn.Module):
    """Embeddings, three layers, the mean of a segment and a classifier; one matrix takes no part, one is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(3))
        self.layers[1].requires_grad_(False)
        self.pooler = nn.Linear(8, 8)
        self.output = nn.Linear(8, 3)

    def forward(self, batch: Batch) -> torch.Tensor:
        stream = batch.streams["source"]
        states = self.embedding(stream.ids)
        for layer in self.layers:
            states = states + layer(states)
        means = [segment.mean(dim=0) for segment in states.tensor_split(stream.bounds[1:-1])]
        logits: torch.Tensor = self.output(torch.stack(means))
        return logits


def examples(num_rows: int = 40) -> Examples:
    """Rows of 1 to 12 tokens; the label is told by the first token."""
    random = np.random.default_rng(0)
    ids = [random.integers(0, 50, random.integers(1, 13)) for _ in range(num_rows)]
    targets = torch.tensor([[float(row[0] % 3)] for row in ids])
    return Examples(ids, targets, np.arange(num_rows))


def train(
    ranks: Alone, case: Mapping[str, Any], first: Path | None = None, last: Path | None = None
) -> tuple[list[float], Floats]:
    """The losses of some updates and the answers after them, from a checkpoint in ``first`` and with one into ``last``."""
    torch.manual_seed(0)
    asked = {
        "token_budget": 1000,
        "dtype": "fp32",
        "kernels": "torch",
        "num_rows": 40,
        "batch_size": 8,
        "optimizer": "adamw",
        **case,
    }
    decided = {"device": "cpu", "threads": 1, "recompute": False, "epochs": 12, "lr": 0.02} | {
        name: asked[name] for name in ("dtype", "token_budget", "kernels")
    }
    fit = Fit(
        trainable=Trainable(Layers(), (Phase(Objective("cross_entropy")),)),
        plan=Plan(tuple(Choice(f"train.{name}", value, "test") for name, value in decided.items())),
        config=Train.Config.model_validate(
            {
                "batch_size": asked["batch_size"],
                "optimizer": {"name": asked["optimizer"]},
                "schedule": {"name": "cosine", "warmup": 0.1},
            }
        ),
        seed=7,
        ranks=ranks,
    )
    loop = make_loop(fit, examples(asked["num_rows"]))
    if first is not None:
        commit = CheckpointStore(first).latest()
        assert commit is not None
        ranks.same(commit.number)
        ranks.read(commit.folder, loop.module, loop.optimizer)
        loop.restore({"step": commit.step, "num_skipped": 0})
    steps = loop.steps()
    losses = [next(steps).loss for _ in range(STEPS)]
    answers = ranks.predict(loop.batches.examples)
    if last is not None and ranks.rank == 0:
        CheckpointStore(last).commit(loop.step, ranks.snapshot(loop.module, loop.optimizer))
    elif last is not None:
        ranks.help_to_write(loop.module, loop.optimizer)
    return losses, answers


def main(number: int, folder: Path) -> None:
    """Two ranks, then three."""
    found: dict[str, object] = {}
    for size in (2, 3):
        for strategy in ("ddp", "fsdp"):
            if number >= size:
                continue
            ranks = Group.meet(f"file://{folder}/meet-{size}-{strategy}", number, size, strategy)
            ranks.begin("cpu")
            saved = folder / strategy
            for name, case in CASES.items() if size == 2 else ():
                losses, answers = train(ranks, case, last=saved if name == "plain" else None)
                found[f"{strategy} {name}"] = {"losses": losses, "answers": answers.tolist()}
            for again in range(2):
                losses, answers = train(ranks, CASES["plain"], first=saved)
                found[f"{strategy} by {size}, {again}"] = {"losses": losses, "answers": answers.tolist()}
            ranks.end()
    if number == 0:
        (folder / "losses.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), Path(sys.argv[2]))
