"""Follow a pointer to the live model: a server changes over by itself when another version is promoted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunewright.errors import TunewrightError
from tunewright.server.served import Model, Served

SECONDS_BETWEEN = 1.0

logger = logging.getLogger(__name__)


@contextmanager
def following(
    served: Served,
    ask: Callable[[], object],
    open_live: Callable[[], Model],
    *,
    known: object,
    seconds_between: float = SECONDS_BETWEEN,
) -> Iterator[None]:
    """While the block runs, ask what is live; when it is not ``known`` any more, open that and serve it instead.

    A version that does not open (damaged, another encoder) is logged and passed over: the old one goes on answering.
    """
    ended = threading.Event()

    def watch() -> None:
        seen = known
        while not ended.wait(seconds_between):
            live = ask()
            if live != seen:
                seen = live
                try:
                    served.replace(open_live())
                except TunewrightError as error:
                    logger.error("the live version is not served: %s", error)

    thread = threading.Thread(target=watch, name="following", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
