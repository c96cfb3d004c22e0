"""What happened in a run, one JSON object a line: ``{"kind": ..., "time": UTC, ...}``, oldest first.

Lines are gathered and synced in batches. Numbers that are not finite become null, so that a line is never refused.
After a resume the steps that were lost are written again; ``rewind`` notes from where, and readers drop the earlier ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tunewright.store.document import finite_or_none, parse_object, render_line
from tunewright.store.journal import Journal

REWOUND = ("step", "evaluation")
"""The kinds of events that a resume takes back when their ``step`` lies beyond the step that it goes on from."""


def now_utc() -> str:
    """The time now as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventLog:
    """The events of one run. Flush before a checkpoint is committed, so that the log reaches as far as the checkpoint.

    One writer, in one thread; any number of readers.
    """

    def __init__(
        self, path: Path, *, batch_size: int = 64, flush_seconds: float = 5, now: Callable[[], str] = now_utc
    ) -> None:
        """Flush when ``batch_size`` events wait, or the oldest of them waits for ``flush_seconds`` at an append."""
        self._journal = Journal(path, lambda line: _parse(line) is not None)
        self._waiting: list[bytes] = []
        self._batch_size = batch_size
        self._flush_seconds = flush_seconds
        self._now = now
        self._oldest = 0.0

    def append(self, kind: str, /, **fields: object) -> None:
        """Note an event; ``fields`` are JSON values. Raises MachineError when a flush fails."""
        if not self._waiting:
            self._oldest = time.monotonic()
        event = {**fields, "kind": kind, "time": self._now()}
        self._waiting.append(render_line(finite_or_none(event)))
        if len(self._waiting) >= self._batch_size or time.monotonic() - self._oldest >= self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Return once everything noted is on the drive. Raises MachineError; the events then wait for the next flush."""
        if self._waiting:
            self._journal.append(*self._waiting)
            self._waiting.clear()

    def rewind(self, step: int) -> None:
        """Note that the run goes on from ``step``: what was noted of later steps is void. Raises MachineError."""
        self.append("resumed", step=step)
        self.flush()

    def read(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events that hold, those still waiting included; of one ``kind`` if given. Raises MachineError."""
        events: list[dict[str, Any]] = []
        for line in [*self._journal.lines(), *self._waiting]:
            event = _parse(line)
            if event is not None and event["kind"] == "resumed":
                events = [earlier for earlier in events if not _is_void(earlier, event)]
            if event is not None:
                events.append(event)
        return [event for event in events if kind is None or event["kind"] == kind]

    def close(self) -> None:
        """Flush."""
        self.flush()

    def __enter__(self) -> Self:
        """Open for a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flush at its end, however it ends."""
        self.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The event in ``line``; None for one that a crash has damaged."""
    try:
        event = parse_object(line)
    except ValueError:
        return None
    return event if isinstance(event.get("kind"), str) else None


def _is_void(earlier: Mapping[str, Any], resumed: Mapping[str, Any]) -> bool:
    step, limit = earlier.get("step"), resumed.get("step")
    return earlier["kind"] in REWOUND and isinstance(step, int) and isinstance(limit, int) and step > limit
