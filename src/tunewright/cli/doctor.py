"""``tunewright doctor``: look at the machine, and test the engine on a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import GateError
from tunewright.words import shown, size


def doctor(
    recipe: Annotated[str | None, Parameter(help="A recipe or a data file to check.")] = None, *, json: AsJson = False
) -> None:
    """Say what this machine can do and what would stop a run; with a recipe, test the engine on a few of its rows."""
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.doctor import examine
    from tunewright.store.document import finite_or_none

    with screen.running() as watcher:
        found = examine(recipe, tell=watcher.tell)
    if json:
        told: Any = finite_or_none(found)
        print_json(told)
    else:
        show_table(("machine", ""), [(name, _shown(name, value)) for name, value in found["machine"].items()])
        show_table(
            ("check", "", "detail"), [(c["name"], "ok" if c["ok"] else "FAILS", c["detail"]) for c in found["checks"]]
        )
        if "selftest" in found:
            _show_selftest(found["selftest"])
    failing = [check for check in found["checks"] if not check["ok"]]
    if failing:
        raise GateError(
            "a check fails",
            where=str(failing[0]["name"]),
            given=str(failing[0]["detail"]),
            allowed="every check is ok",
            hint=str(failing[0]["hint"]),
        )


def _show_selftest(selftest: Mapping[str, Any]) -> None:
    rows = [
        (c["name"], "ok" if c["passed"] else "FAILS", f"{c['deviation']:.1e}", f"{c['bound']:g}", c["sentence"])
        for c in selftest["checks"]
    ]
    show_table(("self-test", "", "deviation", "bound", f"on {selftest['note']}"), rows, right=("deviation", "bound"))


def _shown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return size(value) if name.endswith("_bytes") and isinstance(value, int) else shown(value)
