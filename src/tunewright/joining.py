"""``python -m tunewright.joining``: what torchrun starts as each rank of a run; people start ``tunewright run``.

    FOLDER KEY                      train the prepared run in FOLDER, as one of the processes of this machine
    FOLDER UNTIL RECIPE key=value   carry a recipe as far as UNTIL, as one of the processes of several machines

Whoever started torchrun holds the other end of standard input: a line asks to stop, the end of it means that nobody waits for
this process any more.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.errors import TunewrightError

LOCK = ".ranks.lock"
WAIT_SECONDS = 60.0
"""How long a rank waits for one that was left behind by an earlier start and is ending."""


def main(arguments: Sequence[str]) -> None:
    """Be one rank."""
    asked = threading.Event()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    from tunewright.types import Watcher

    watcher = Watcher(asked_to_stop=asked.is_set)
    folder, second, *more = arguments
    if more:
        until: Any = second
        from tunewright.pipeline import run

        run(more[0], out=folder, until=until, overrides=more[1:], watcher=watcher)
    else:
        _train(Path(folder), second, watcher)


def _train(place: Path, key: str, watcher: Any) -> None:
    from contextlib import ExitStack

    from tunewright.pipeline import Road
    from tunewright.recipe import read_request
    from tunewright.store.lock import locked
    from tunewright.store.run import RECIPE, RunFolder
    from tunewright.train.launch import join, leave

    request = read_request(place / RECIPE, (), {}, environment={})
    road = Road(request, watcher, ranks=join(request.recipe.launch))
    folder = RunFolder.open(place)
    error: TunewrightError | None = None
    with ExitStack() as held:
        if road.ranks.rank == 0:
            held.enter_context(locked(place / LOCK, WAIT_SECONDS))
        try:
            road.train_as_rank(folder, key)
        except TunewrightError as raised:
            if road.ranks.rank:
                raise
            error = raised
        if road.ranks.rank == 0:
            leave(folder, error, road.choices)
        road.ranks.end()


def _listen(asked: threading.Event) -> None:
    for _ in sys.stdin:
        asked.set()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
