"""``tunewright run|prepare|train``: carry data along the road, as far as asked."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tunewright.cli.render import Screen, print_json, show_summary
from tunewright.errors import InputError

if TYPE_CHECKING:
    from tunewright.pipeline import Watcher

Recipe = Annotated[str, Parameter(help="A recipe (.yaml), a data file, or asset:NAME.")]
Overrides = Annotated[str, Parameter(help="Options of the recipe as key=value, such as train.lr=3e-5 model=minilm-l6.")]
Out = Annotated[Path | None, Parameter(name="--out", help="The run's folder. Without it: a folder of `runs`.")]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="One JSON object on standard output, nothing else.")
]


def run(recipe: Recipe, /, *overrides: Overrides, out: Out = None, json: AsJson = False) -> None:
    """Carry a recipe or a data file to a tuned model, a verdict and a report."""
    travel(recipe, overrides, out=out, as_json=json, until="evaluate")


def travel(recipe: str, overrides: tuple[str, ...], *, out: Path | None, as_json: bool, until: Any) -> None:
    """Run the road as far as ``until`` and render what comes of it."""
    check_overrides(overrides)
    command = ["tunewright", *sys.argv[1:]]

    def go(watcher: Watcher) -> dict[str, Any]:
        from tunewright.pipeline import run

        return run(recipe, out=out, overrides=overrides, until=until, watcher=watcher, command=command)

    show(go, as_json=as_json)


def show(go: Callable[[Watcher], dict[str, Any]], *, as_json: bool) -> None:
    """Draw progress while ``go`` runs, then its result."""
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes that torchrun has started, one speaks
    screen = Screen(silent=as_json or not is_first)
    screen.note("loading libraries (about ten seconds) ...")
    with screen.running() as watcher:
        result = go(watcher)
    if not is_first:
        return
    if as_json:
        print_json(result)
    else:
        show_summary(result)


def check_overrides(overrides: tuple[str, ...]) -> None:
    """Refuse a stray word before anything is loaded."""
    for override in overrides:
        if "=" not in override:
            raise InputError(
                "this is neither the recipe nor an option",
                where=shlex.join(["tunewright", *sys.argv[1:]]),
                given=override,
                allowed="key=value, such as train.lr=3e-5",
                hint="tunewright run --help",
            )
