"""``tunewright train``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.run import AsJson, Out, Recipe, travel


def train(
    recipe: Recipe, *overrides: Annotated[str, Parameter(help="key=value")], out: Out = None, json: AsJson = False
) -> None:
    """Prepare and train, without judging. `tunewright run` with the same recipe judges it afterwards.

    tunewright train recipe.yaml
    tunewright train reviews.csv train.epochs=1
    """
    travel(recipe, overrides, out=out, as_json=json, until="train", verb="train")
