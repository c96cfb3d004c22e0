"""``tunewright watch``: has what comes in drifted away from the training data?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import GateError


def watch(
    run: Annotated[str, Parameter(help="A run's folder or id; with --registry, a name whose live version is meant.")],
    requests: Annotated[
        str, Parameter(help="A file of requests, with the columns of texts or dialogues that the run was tuned on.")
    ],
    *,
    registry: Annotated[Path | None, Parameter(name="--registry", help="The folder of the registry.")] = None,
    level: Annotated[float, Parameter(name="--level", help="How often any signal may give a false alarm.")] = 0.01,
    json: AsJson = False,
) -> int:
    """Compare requests with the data that a model was tuned on. Exit code 3 is an alarm."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.maintaining import watch as look

    with screen.running() as watcher:
        drift = look(run, requests, registry=registry, level=level, tell=watcher.tell)
    if json:
        print_json(drift)
        return GateError.exit_code if drift["is_alarm"] else 0
    rows = [
        (each["signal"], f"{each['value']:.4f}", f"{each['p']:.2g}", f"{each['p_holm']:.2g}",
         "ALARM" if each["is_alarm"] else "-", each["sentence"])
        for each in drift["readings"]
    ]  # fmt: skip
    show_table(("signal", "distance", "p", "corrected", "alarm", ""), rows, right=("distance", "p", "corrected"))
    screen.note(drift["sentence"])
    if drift["is_alarm"]:
        examples = [text for each in drift["readings"] if each["is_alarm"] for text in each["examples"]]
        if examples:
            screen.note(f"Stand out: {' | '.join(examples)}")
        screen.note(f"Next: look at the requests. With answers to such as these: {_remedy(run, registry)}")
    return GateError.exit_code if drift["is_alarm"] else 0


def _remedy(run: str, registry: Path | None) -> str:
    """What to type once there are rows of the new kind."""
    if registry is None:
        return "tunewright run, with a file of them beside the old one"
    return shlex.join(["tunewright", "retrain", run, "FILE", *(["--registry", str(registry)])])
