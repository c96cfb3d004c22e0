"""Which version of a model is live, asked again and again by a process that serves it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tunewright.errors import MachineError, TunewrightError
from tunewright.store.registry import Registry

WAIT_SECONDS = 1.0
"""How long a request may wait for somebody who is writing."""


class Live(NamedTuple):
    """The number of the version that is live and the folder of its tuned model; the pair changes when another one is."""

    number: int
    folder: Path


class Follower:
    """Called, it says what is live now; cheap enough for every request, and callable from any thread.

    The shelf is only read again after somebody has changed it. While it cannot be read, the last answer stands: a server
    goes on with the model that it has.
    """

    def __init__(self, registry: Path, name: str) -> None:
        """Raises InputError where there is no such shelf or name, or nothing is live; MachineError."""
        self._registry = Registry(registry, wait_seconds=WAIT_SECONDS)
        self._name = name
        self._lock = threading.Lock()
        try:
            self._seen = self._registry.changes()
            self._live = self._look()
        except TunewrightError:
            self._registry.close()
            raise

    def __call__(self) -> Live:
        """The version that is live."""
        with self._lock, suppress(MachineError):
            changes = self._registry.changes()
            if changes != self._seen:
                self._live = self._look()
                self._seen = changes
        return self._live

    def close(self) -> None:
        """Let go of the shelf."""
        with self._lock:
            self._registry.close()

    def _look(self) -> Live:
        version = self._registry.current(self._name)
        return Live(version.number, version.model)
