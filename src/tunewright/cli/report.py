"""``tunewright report``: write a run's page again."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from tunewright.cli.render import print_json
from tunewright.cli.run import AsJson


def report(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *,
    rows: Annotated[Literal["none", "ids", "text"] | None, Parameter(help="What of the wrong rows is shown.")] = None,
    json: AsJson = False,
) -> None:
    """Write a run's report again from its result.json, and say where it is. Rows can be hidden, never brought back."""
    from tunewright.answering import locate_run
    from tunewright.cli.render import show_summary
    from tunewright.reporting import rewrite

    result = rewrite(locate_run(run), rows)
    if json:
        print_json({"report": result["report"]})
    else:
        show_summary(result)
