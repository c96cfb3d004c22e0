"""``tunewright replay``: run again and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import GateError


def replay(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *,
    out: Annotated[
        Path | None, Parameter(name="--out", help="The replay's folder. Without it: `replay` in the run's own folder.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Run a run again from its own recipe, plan and data, and compare every weight."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.replaying import replay as again

    with screen.running() as watcher:
        compared = again(run, out=out, watcher=watcher)
    if json:
        print_json(compared)
    else:
        rows = [
            (name, "\n".join(value) if isinstance(value, list) else value)
            for name, value in compared.items()
            if value != []
        ]
        show_table(("", run), rows)
    if not compared["within_tolerance"]:
        raise GateError(
            "the replay gave other weights",
            where=compared["replay"],
            given=f"largest difference {compared['largest_difference']:.3g}",
            allowed=f"identical, or within {compared['tolerance']:g} on another machine",
            hint="compare the versions and CPU features listed under `environment`",
        )
