"""``tunewright evaluate``: judge again."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.run import AsJson, travel


def evaluate(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *overrides: Annotated[str, Parameter(help="key=value of the sections evaluate and report.")],
    json: AsJson = False,
) -> None:
    """Judge the tuned model of a run again; nothing is trained unless the run had not finished training."""
    from tunewright.answering import locate_run

    folder = locate_run(run)
    travel(str(folder / "recipe.yaml"), overrides, out=None, as_json=json, until="evaluate", verb="evaluate")
