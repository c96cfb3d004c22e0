"""``tunewright prepare``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.run import AsJson, Out, Recipe, travel


def prepare(
    recipe: Recipe, *overrides: Annotated[str, Parameter(help="key=value")], out: Out = None, json: AsJson = False
) -> None:
    """Only prepare and encode the data: splits, ledger, findings.

    tunewright prepare reviews.csv
    tunewright prepare recipe.yaml data.test=0.3
    """
    travel(recipe, overrides, out=out, as_json=json, until="prepare", verb="prepare")
