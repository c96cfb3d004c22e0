"""What a search varies of any training where the recipe declares no space."""

from __future__ import annotations

from tunewright.types import Plan, Range, Space


def training_ranges(plan: Plan) -> Space:
    """A rate within ten times of the plan's, half to twice its passes, the size of a batch, and weight decay."""
    lr, epochs = float(plan["train.lr"]), int(plan["train.epochs"])
    return {
        "train.lr": Range(low=lr / 10, high=lr * 10, log=True),
        "train.epochs": Range(low=max(1, epochs // 2), high=2 * epochs, whole=True),
        "train.batch_size": (8, 16, 32, 64),
        "train.optimizer.weight_decay": Range(low=1e-4, high=0.3, log=True),
    }
