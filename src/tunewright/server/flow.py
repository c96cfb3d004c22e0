"""Work that blocks, done in a thread of its own and read from the event loop; given up at a deadline or a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


async def flow(iterate: Callable[[], Iterator[T]], deadline: float) -> AsyncGenerator[T, None]:
    """What the iterator gives, as it comes; ``deadline`` is in the time of the running loop.

    When this generator is closed, cancelled or late, the iterator is closed in its thread, at its next item. Raises
    TimeoutError, and whatever the iterator raises.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    gone = threading.Event()

    def tell(item: object) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody listens
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        last: object = _END
        iterator: Any = None
        try:
            iterator = iterate()
            for item in iterator:
                if gone.is_set():
                    break
                tell(item)
        except Exception as error:  # noqa: BLE001 - handed to the one who reads
            last = error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
            tell(last)

    threading.Thread(target=work, name="answering", daemon=True).start()
    try:
        while True:
            async with asyncio.timeout_at(deadline):
                item = await queue.get()
            if item is _END:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        gone.set()
