"""Commits in the background: the tensors are copied, a thread writes them by the store's protocol, and training goes on.

One commit at a time: the next waits for it. Nothing of it is visible before the store's rename, so a kill in between leaves the
earlier commit, as it did before. A failure is raised at the next step, or at the end of training, which waits. While a commit is
on its way, what training changes (weights and moments) is in memory twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self

from tunewright.store.artifact import Draft
from tunewright.store.checkpoints import CheckpointStore


class Commits:
    """The commits of one training, for the length of a ``with`` block."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        """Nothing is read or written yet."""
        self.checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._pending: Future[object] | None = None

    def commit(
        self,
        step: int,
        write: Callable[[Draft], None],
        *,
        position: Mapping[str, object],
        metric: float | None,
        keep_best: Literal["max", "min"],
    ) -> None:
        """Begin a commit and return; one that is still on its way is waited for. Raises its MachineError.

        ``write`` fills the draft in the background, from copies.
        """
        self.settle()
        self._pending = self._thread.submit(
            self.checkpoints.commit, step, write, position=position, metric=metric, keep_best=keep_best
        )

    def raise_failure(self) -> None:
        """Raise the MachineError of a commit that has ended with one; a commit still on its way is left to itself."""
        if self._pending is not None and self._pending.done():
            self.settle()

    def settle(self) -> None:
        """Return once nothing is on its way. Raises the MachineError of the last commit, once."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Self:
        """Open for a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is on its way; its failure is raised unless another error is."""
        self._thread.shutdown()
        if error is None:
            self.settle()
