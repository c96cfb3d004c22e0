"""``tunewright runs list|show|compare|remove``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tunewright.cli.render import print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.errors import InputError
from tunewright.store import runs as shelf
from tunewright.words import shown, size

EXAMPLES = """Examples:
  tunewright runs list
  tunewright runs show movie-reviews-1a2b3c4d
  tunewright runs compare movie-reviews-1a2b3c4d movie-reviews-5e6f7a8b
  tunewright runs remove movie-reviews-1a2b3c4d
"""

app = App(name="runs", help="List, show, compare and remove runs.", help_format="plaintext", help_epilogue=EXAMPLES)

Folder = Annotated[Path, Parameter(name="--runs", help="The folder that holds the runs.")]
RunId = Annotated[str, Parameter(help="A run's id, as `runs list` shows it.")]
DEFAULT = Path("runs")


@app.command(name="list")
def list_(*, runs: Folder = DEFAULT, json: AsJson = False) -> None:
    """Every run, the newest first, with its verdict and its size on disk."""
    found = shelf.list_runs(runs)
    if json:
        print_json({"runs": [_as_json(run) for run in found]})
        return
    rows = [
        (
            run.id,
            run.state,
            run.verdict or "-",
            _metric(run),
            size(run.num_bytes),
            run.created[:16].replace("T", " "),
        )
        for run in found
    ]
    show_table(("id", "state", "verdict", "metric", "size", "created (UTC)"), rows, right=("size",))


@app.command
def show(id: RunId, *, runs: Folder = DEFAULT, json: AsJson = False) -> None:  # noqa: A002 - the option's own name
    """One run: what it holds, how large each part is, its checkpoints."""
    detail = shelf.show_run(runs, id)
    if json:
        print_json(
            {**_as_json(detail.run), "contents": dict(detail.contents), "commits": [list(c) for c in detail.commits]}
        )
        return
    show_table(("part", "size"), [(name, size(length)) for name, length in detail.contents.items()], right=("size",))
    if detail.commits:
        show_table(
            ("commit", "step", "metric"), [(n, s, "-" if m is None else f"{m:.4f}") for n, s, m in detail.commits]
        )


@app.command
def compare(*ids: RunId, runs: Folder = DEFAULT, json: AsJson = False) -> None:
    """Runs side by side: their metrics, and the settings in which they differ."""
    _require(ids, "compare")
    found = shelf.compare_runs(runs, ids)
    if json:
        both = {"metrics": found.metrics, "settings": found.settings}
        print_json({"runs": list(ids), **{name: {k: list(v) for k, v in part.items()} for name, part in both.items()}})
        return
    rows: list[list[object]] = [
        [name, *("-" if value is None else f"{value:.4f}" for value in values)]
        for name, values in found.metrics.items()
    ]
    rows += [
        [path, *("-" if value is None else shown(value) for value in values)] for path, values in found.settings.items()
    ]
    show_table(("", *ids), rows)


@app.command
def remove(*ids: RunId, runs: Folder = DEFAULT, json: AsJson = False) -> None:
    """Remove runs. Parts that another run shares stay with that run."""
    _require(ids, "remove")
    freed = {id_: shelf.remove_run(runs, id_) for id_ in ids}
    if json:
        print_json({"removed": freed})
    else:
        show_table(("removed", "size"), [(id_, size(length)) for id_, length in freed.items()], right=("size",))


def _require(ids: tuple[str, ...], verb: str) -> None:
    if not ids:
        raise InputError(
            "no run is named",
            where=f"tunewright runs {verb}",
            given="nothing",
            allowed="ids, as `tunewright runs list` shows them",
            hint="tunewright runs list",
        )


def _metric(run: shelf.Run) -> str:
    name = next((name for name in (run.deciding, *run.metrics) if run.metrics.get(name) is not None), "")
    value = run.metrics.get(name)
    return "-" if value is None else f"{name} {value:.4f}"


def _as_json(run: shelf.Run) -> dict[str, object]:
    return {
        "id": run.id,
        "state": run.state,
        "verdict": run.verdict,
        "metrics": dict(run.metrics),
        "num_bytes": run.num_bytes,
        "created": run.created,
    }
