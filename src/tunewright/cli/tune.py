"""``tunewright tune``: search, then say which values won and what to type next."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson, Out, Overrides, Recipe, check_overrides


def tune(recipe: Recipe, /, *overrides: Overrides, out: Out = None, json: AsJson = False) -> None:
    """Search for better options; trials are judged on the validation rows alone."""
    check_overrides(overrides)
    screen = Screen(silent=json)
    screen.note("loading libraries (about ten seconds) ...")
    from tunewright.tuning import tune as search

    with screen.running() as watcher:
        result = search(recipe, out=out, overrides=overrides, watcher=watcher, command=["tunewright", *sys.argv[1:]])
    if json:
        print_json(result)
    else:
        _show(result)


def _show(result: Mapping[str, Any]) -> None:
    found = result["search"]
    best = found["best"]
    rows = [
        (
            f"{trial['number']}{' *' if best and trial['number'] == best['number'] else ''}",
            "" if trial["value"] is None else f"{trial['value']:.4f}",
            trial["state"],
            f"{trial['seconds']:.0f}",
            " ".join(f"{path}={_shown(value)}" for path, value in trial["parameters"].items()),
        )
        for trial in found["trials"]
    ]
    show_table(("trial", found["metric"], "state", "seconds", "values"), rows, right=(found["metric"], "seconds"))
    console = Console(highlight=False)
    if best:
        told = f"{found['metric']} {best['value']:.4f} on the validation rows, which chose it; the test rows were not seen."
        console.print(Text(f"\nBest:   {told}"), soft_wrap=True)
        console.print(Text.assemble("Recipe: ", (best["file"], "bold")), soft_wrap=True)
    else:
        console.print(Text("\nNo trial was completed."))
    console.print(Text.assemble("Report: ", (result["report"], "bold")), soft_wrap=True)
    if best:
        console.print(Text.assemble("Next:   ", (best["command"], "cyan")), soft_wrap=True)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
