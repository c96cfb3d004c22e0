"""``tunewright registry add|list|show|promote|rollback|remove``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tunewright.cli.render import print_json, show_table
from tunewright.cli.run import AsJson
from tunewright.store.registry import Registry
from tunewright.store.runs import locate_run
from tunewright.store.version import Version

EXAMPLES = """Examples:
  tunewright registry add reviews runs/movie-reviews-1a2b3c4d --note "first one"
  tunewright registry add pinglun runs/chinese-reviews-5e6f7a8b --note "第一版，中文评论"
  tunewright registry promote reviews 1
  tunewright registry list
  tunewright registry show reviews
  tunewright registry rollback reviews
  tunewright registry remove reviews 1
"""

app = App(
    name="registry",
    help="Keep tuned models under a name: versions, which one is live, rollback.",
    help_format="plaintext",
    help_epilogue=EXAMPLES,
)

Name = Annotated[str, Parameter(help="The name that the model is kept under.")]
Number = Annotated[int, Parameter(help="A version, as `registry list` shows it.")]
Folder = Annotated[Path, Parameter(name="--registry", help="The folder of the registry.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why; it is kept in the history.")]
DEFAULT = Path("registry")


@app.command
def add(
    name: Name,
    run: Annotated[str, Parameter(help="A finished run's folder or id.")],
    *,
    note: Annotated[str, Parameter(help="A word about this version, in any language.")] = "",
    accept_verdict: Annotated[
        bool, Parameter(name="--accept-verdict", negative="", help="Also where the verdict is not `better`.")
    ] = False,
    registry: Folder = DEFAULT,
    json: AsJson = False,
) -> None:
    """Put a copy of a run's tuned model on the shelf, under the next number. It is live once it is promoted."""
    folder = locate_run(run)
    with Registry(registry, create=True) as shelf:
        _show([shelf.add(name, folder, note=note, accept_verdict=accept_verdict)], as_json=json)


@app.command(name="list")
def list_(
    name: Annotated[str | None, Parameter(help="Only this name.")] = None,
    *,
    registry: Folder = DEFAULT,
    json: AsJson = False,
) -> None:
    """Every version, the newest first, and which one is live."""
    with Registry(registry) as shelf:
        found = shelf.versions(name)
    if json:
        print_json({"versions": [version_as_json(version) for version in found]})
    else:
        _show(found, as_json=False)


@app.command
def show(
    name: Name, number: Annotated[int | None, Parameter(help="Without it: the one that is live.")] = None, *,
    registry: Folder = DEFAULT, json: AsJson = False,
) -> None:  # fmt: skip
    """One version, and all that was done under its name."""
    with Registry(registry) as shelf:
        version = shelf.current(name) if number is None else shelf.version(name, number)
        history = shelf.history(name)
    if json:
        events = [{"version": each.number, "action": each.action, "reason": each.reason, "detail": each.detail,
                   "moment": each.moment} for each in history]  # fmt: skip
        print_json({**version_as_json(version), "history": events})
        return
    show_table(("", f"{name} {version.number}"), list(version_as_json(version).items()))
    rows = [(each.moment[:16].replace("T", " "), each.action, each.number, each.reason or "-") for each in history]
    show_table(("moment (UTC)", "action", "version", "reason"), rows, right=("version",))


@app.command
def promote(
    name: Name, number: Number, *, reason: Reason = "", registry: Folder = DEFAULT, json: AsJson = False
) -> None:
    """Make a version live. Servers that follow the name change over by themselves."""
    with Registry(registry) as shelf:
        _show([shelf.promote(name, number, reason=reason)], as_json=json)


@app.command
def rollback(name: Name, *, reason: Reason = "", registry: Folder = DEFAULT, json: AsJson = False) -> None:
    """Make the version live again that was live before."""
    with Registry(registry) as shelf:
        _show([shelf.rollback(name, reason=reason)], as_json=json)


@app.command
def remove(name: Name, number: Number, *, registry: Folder = DEFAULT, json: AsJson = False) -> None:
    """Take a version's files away; its history stays. The one that is live cannot be removed."""
    with Registry(registry) as shelf:
        _show([shelf.remove(name, number)], as_json=json)


def version_as_json(version: Version) -> dict[str, object]:
    """A version under its public names."""
    return {
        "name": version.name, "version": version.number, "state": version.state, "verdict": version.verdict,
        "task": version.task, "base": version.base, "created": version.created, "note": version.note,
        "origin": version.origin, "folder": str(version.folder), "digest": version.digest,
    }  # fmt: skip


def _show(versions: list[Version] | tuple[Version, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(version_as_json(versions[0]))
        return
    rows = [
        (each.name, each.number, each.state, each.verdict, each.created[:16].replace("T", " "), each.note or "-")
        for each in versions
    ]
    show_table(("name", "version", "state", "verdict", "created (UTC)", "note"), rows, right=("version",))
