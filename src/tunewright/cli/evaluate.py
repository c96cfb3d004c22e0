"""``tunewright evaluate``: judge again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tunewright.cli.run import AsJson, check_overrides, show

if TYPE_CHECKING:
    from tunewright.pipeline import Watcher


def evaluate(
    run: Annotated[str, Parameter(help="A run's folder or id.")],
    *overrides: Annotated[str, Parameter(help="key=value of the sections evaluate and report.")],
    json: AsJson = False,
) -> None:
    """Judge the tuned model of a run again; nothing is trained unless the run had not finished training."""
    check_overrides(overrides)
    command = ["tunewright", *sys.argv[1:]]

    def go(watcher: Watcher) -> dict[str, Any]:
        from tunewright.answering import locate_run
        from tunewright.pipeline import judge_again

        return judge_again(locate_run(run), overrides=overrides, watcher=watcher, command=command)

    show(go, as_json=json)
