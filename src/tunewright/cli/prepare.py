"""``tunewright prepare``."""

from __future__ import annotations

from tunewright.cli.run import AsJson, Out, Overrides, Recipe, travel


def prepare(recipe: Recipe, /, *overrides: Overrides, out: Out = None, json: AsJson = False) -> None:
    """Only prepare and encode the data: splits, ledger, findings."""
    travel(recipe, overrides, out=out, as_json=json, until="prepare")
