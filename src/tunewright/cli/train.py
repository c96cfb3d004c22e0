"""``tunewright train``."""

from __future__ import annotations

from tunewright.cli.run import AsJson, Out, Overrides, Recipe, travel


def train(recipe: Recipe, /, *overrides: Overrides, out: Out = None, json: AsJson = False) -> None:
    """Prepare and train, without judging."""
    travel(recipe, overrides, out=out, as_json=json, until="train")
