"""Follow a pointer to the live model: a server changes over by itself when another version is promoted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tunewright.errors import TunewrightError
from tunewright.server.opening import open_folder, open_model
from tunewright.server.served import Model, Served
from tunewright.store.follow import Follower
from tunewright.types import Tell

SECONDS_BETWEEN = 1.0
REGISTRY = "registry:"

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
                    served.swap(open_live())
                except TunewrightError as error:
                    logger.error("the live version is not served: %s", error)

    thread = threading.Thread(target=watch, name="following", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def opened(
    what: str, registry: Path, *, accept_terms: bool, tell: Tell
) -> tuple[Model, Callable[[Served], AbstractContextManager[None]]]:
    """The model to serve, and how it is followed while it is: ``registry:NAME`` changes over, anything else stays.

    Raises what ``open_model`` raises, and InputError for a registry or a name that is not there.
    """
    if not what.startswith(REGISTRY):
        return open_model(what, accept_terms=accept_terms, tell=tell), lambda _: nullcontext()
    name = what.removeprefix(REGISTRY)
    follower = Follower(registry, name)
    live = follower()

    @contextmanager
    def follow(served: Served) -> Iterator[None]:
        try:
            with following(served, follower, lambda: open_folder(follower().folder, name), known=live):
                yield
        finally:
            follower.close()

    return open_folder(live.folder, name, tell), follow
