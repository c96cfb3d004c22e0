"""``tunewright retrain``: tune anew with more rows; the live model stays unless it is beaten."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson, Out


def retrain(
    name: Annotated[str, Parameter(help="The name that the live model is kept under.")],
    file: Annotated[str, Parameter(help="A file with new rows, in the columns of the data before.")],
    *,
    registry: Annotated[Path, Parameter(name="--registry", help="The folder of the registry.")] = Path("registry"),
    out: Out = None,
    accept_verdict: Annotated[
        bool, Parameter(name="--accept-verdict", negative="", help="Also where its own verdict is not `better`.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Tune anew with more rows; the live model is replaced only if it is beaten on rows that neither has seen."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.maintaining import retrain as tune_anew

    command = ["tunewright", *sys.argv[1:]]
    with screen.running() as watcher:
        made = tune_anew(
            name, file, registry=registry, out=out, accept_verdict=accept_verdict, watcher=watcher, command=command
        )
    if json:
        print_json(made)
        return
    decision = made["decision"]
    done = f"promoted to version {decision['version']}" if decision["outcome"] == "promote" else "not promoted"
    rows = [
        ("challenger", f"{made['run']} ({done})"),
        ("its own verdict", made["verdict"]["sentence"]),
        ("against live", decision["reason"]),
        ("report", made["report"]),
    ]
    show_table(("", f"{name}: version {decision['version'] or decision['live']} is live"), rows)
