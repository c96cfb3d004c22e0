"""``tunewright doctor``: look at the machine."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import GateError
from tunewright.words import shown, size


def doctor(
    recipe: Annotated[str | None, Parameter(help="A recipe or a data file to check.")] = None, *, json: AsJson = False
) -> None:
    """Say what this machine can do and what would stop a run; nothing is changed."""
    Screen(silent=json).note("loading libraries (about ten seconds) ...")
    from tunewright.doctor import examine

    found = examine(recipe)
    if json:
        print_json(found)
    else:
        show_table(("machine", ""), [(name, _shown(name, value)) for name, value in found["machine"].items()])
        show_table(
            ("check", "", "detail"), [(c["name"], "ok" if c["ok"] else "FAILS", c["detail"]) for c in found["checks"]]
        )
    failing = [check for check in found["checks"] if not check["ok"]]
    if failing:
        raise GateError(
            "a check fails",
            where=str(failing[0]["name"]),
            given=str(failing[0]["detail"]),
            allowed="every check is ok",
            hint=str(failing[0]["hint"]),
        )


def _shown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return size(value) if name.endswith("_bytes") and isinstance(value, int) else shown(value)
