"""What is needed to judge a tuned model, whatever it answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.recipe import Recipe
from tunewright.seams import Method
from tunewright.types import Base, Dataset, Encoded, Plan, Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run up to its tuned model, which lies in ``model``; ``events`` are those of its training.

    ``command`` repeats the run, ``run`` is its folder.
    """

    task: Any
    dataset: Dataset
    encoded: Encoded
    base: Base
    plan: Plan
    recipe: Recipe
    method: Method
    model: Path
    events: Sequence[Mapping[str, Any]]
    command: str
    run: str
    tell: Tell
