"""The pieces of a training, each run for real on the loop that will train, and then put back.

Memory is watched while updates grow: rows of one length take memory in proportion to their number, so that two parts of the
longest micro-batch tell what all of it will take before it is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tunewright.infer.predict import predict_logits
from tunewright.infer.rounding import CODE_BYTES, MOST_KEPT, round_up, rounds
from tunewright.train import memory
from tunewright.train.batches import Batches, token_weights
from tunewright.train.forecast import (
    Forecast,
    Pace,
    Work,
    all_work,
    extrapolate,
    fit_pace,
    num_commits,
)
from tunewright.train.state import changing, read_moments, read_weights, write_state
from tunewright.types import Ints

if TYPE_CHECKING:
    from tunewright.store.artifact import Draft
    from tunewright.store.checkpoints import CheckpointStore
    from tunewright.train.loop import Loop
    from tunewright.train.rehearsal import Rehearsal

MOST_SECONDS = 60.0
MOST_SHARE = 0.05
"""Of the time that training is forecast to take: what a rehearsal may cost before the rest of it is left out."""

SAFE = 0.95
"""The share of free memory that a training may plan with: the machine does other things, too."""

SAMPLE_ROWS = 64
"""Validation rows that stand for all of them; more would tell the rate no better."""

LABEL = "rehearsing"


class _Chosen(Batches):
    """The same batches, with the rows that the rehearsal wants at every step."""

    def __init__(self, batches: Batches, rows: Ints) -> None:
        self.__dict__.update(vars(batches))
        self._rows = rows

    def rows(self, step: int) -> Ints:
        return self._rows


class Pieces:
    """The pieces of one training, run one after another; what they took."""

    def __init__(self, rehearsal: Rehearsal, loop: Loop, scratch: CheckpointStore) -> None:
        self.rehearsal, self.loop, self.scratch = rehearsal, loop, scratch
        self.began = time.monotonic()
        self.device = loop.settings.device
        self.batches = loop.batches
        self.start = loop.state()
        self.lengths = np.array([len(ids) for ids in self.batches.examples.ids], dtype=np.int64)
        self.measured: list[tuple[Work, float]] = []
        self.peaks: dict[int, int] = {}
        self.is_measured = False
        self.trained_bytes = 4 * sum(value.numel() for value in changing(loop.module).values())
        self.trains_most = self.trained_bytes * 2 > 4 * sum(value.numel() for value in loop.module.parameters())
        self._steps: Iterator[Any] = loop.steps()

    @property
    def limit(self) -> float | None:
        """The most that this process may come to hold."""
        used, free = memory.used_bytes(self.device), memory.free_bytes(self.device)
        return None if used is None or free is None else used + SAFE * free

    def rehearse(self) -> Forecast:
        """Run the pieces, put everything back, and say what they tell."""
        rehearsal, num_epochs = self.rehearsal, int(self.rehearsal.plan["train.epochs"])
        rehearsal.require_disk(2 * self.trained_bytes)
        moments = 2 if "adam" in type(self.loop.optimizer).__name__.lower() else 0
        rehearsal.allows_memory(self, (memory.used_bytes(self.device) or 0) + (1 + moments) * self.trained_bytes)
        work, repeats = all_work(self.batches, self.lengths, num_epochs)
        self._tell(0, "a save")
        saved, save_seconds = self._timed(partial(self.scratch.commit, 0, self._fill))
        self._tell(1, "the longest batch, from a small part of it on")
        longest = self._updates(work, repeats)
        self._tell(2, "an evaluation")
        per_token = self._evaluation()
        self._tell(3, "a save and a reload")
        commit_bytes = saved.num_bytes + _moment_bytes(self.loop.optimizer)
        commit_seconds = save_seconds * commit_bytes / max(1, saved.num_bytes)
        newest = saved
        if commit_seconds <= self._left:
            newest, commit_seconds = self._timed(partial(self.scratch.commit, 1, self._fill))
            commit_bytes = newest.num_bytes
        if rehearsal.config.average.name != "none":
            commit_bytes += self.trained_bytes
        _, reload_seconds = self._timed(lambda: self._reload(newest.folder))
        self._put_back(saved.folder)
        peak = memory.peak_bytes(self.device)
        if peak is not None and not self.is_measured:
            peak = max(peak, self._expected(longest))
        if peak is not None:
            peak += commit_bytes + self._code_bytes()  # a commit is written from copies while training goes on
        update_seconds = repeats * sum(map(self.pace.seconds, work))
        num_updates = self.loop.settings.num_steps
        num_evaluations = -(-num_updates // (rehearsal.config.evaluate_every or self.batches.steps_per_epoch))
        commits = num_commits(num_evaluations, update_seconds, rehearsal.config.commit_seconds)
        model_bytes = 4 * rehearsal.base.num_parameters  # a tuned model is saved whole and in fp32
        kept = 1 + rehearsal.config.keep_last
        most = max((kept + 1) * commit_bytes, kept * commit_bytes + model_bytes)  # one is written before one goes
        rehearsal.require_disk(most)
        evaluation = per_token * sum(len(ids) for ids in rehearsal.validation.ids)
        test_tokens = len(rehearsal.encoded.table("test")["source"].combine_chunks().values)
        return Forecast(
            num_updates=num_updates,
            num_evaluations=num_evaluations,
            num_commits=commits,
            update_seconds=update_seconds,
            evaluation_seconds=num_evaluations * evaluation,
            commit_seconds=commits * commit_seconds,
            closing_seconds=reload_seconds + evaluation + commit_seconds * model_bytes / max(1, commit_bytes),
            judge_seconds=2 * per_token * test_tokens,
            memory_bytes=peak,
            disk_bytes=min(kept, commits) * commit_bytes + model_bytes,
            rehearsal_seconds=time.monotonic() - self.began,
            is_measured=self.is_measured,
        )

    # -------------------------------------------------------------------------------------------------------- inside

    def _code_bytes(self) -> int:
        """What the machine code for numbers of tokens that have not occurred yet will take, in the first pass over the rows."""
        if not rounds(self.loop.worker.module):
            return 0
        steps = range(min(self.batches.steps_per_epoch, self.loop.settings.num_steps))
        sizes = {
            round_up(int(self.lengths[group].sum()))
            for step in steps
            for group in self.batches.groups(self.batches.rows(step))
        }
        return CODE_BYTES * max(0, min(len(sizes), MOST_KEPT) - len(self.peaks))

    @property
    def pace(self) -> Pace:
        """The pace by what was measured so far."""
        return fit_pace(self.measured)

    @property
    def _left(self) -> float:
        """Seconds that the rehearsal may still take."""
        return self.allowance - (time.monotonic() - self.began)

    def _updates(self, work: Sequence[Work], repeats: float) -> int:
        """Run updates that grow to the longest, then usual ones, while there is time; the size of the longest."""
        order = sorted(range(len(work)), key=lambda step: work[step].tokens)
        rows = self.batches.rows(order[-1])
        first = self.batches.groups(rows)[0]
        longest = self.batches.size(rows)
        smallest, small = self._parts(first)
        self._update(smallest)  # which makes the moments and warms everything up
        self.measured.clear()
        self.peaks.clear()
        self._update(smallest)
        self._update(small)
        self.allowance = min(MOST_SECONDS, MOST_SHARE * repeats * sum(map(self.pace.seconds, work)))
        usual = [self.batches.rows(order[round(share * (len(order) - 1))]) for share in (0.5, 0.1)]
        half = first[: -(-len(first) // 2)]
        is_roomy = self.limit is not None and 2 * self._expected(longest) <= self.limit
        for chosen in (*(() if is_roomy else (half, first)), rows, *usual, rows, *usual, half):
            fits = self.rehearsal.allows_memory(self, self._expected(self.batches.size(chosen)))
            if fits and self.pace.seconds(Work.of(self.lengths[chosen])) <= self._left - self.allowance / 3:
                self._update(chosen)
                self.is_measured = self.is_measured or chosen is rows
        self.rehearsal.allows_memory(self, self._expected(longest))
        return longest

    def _parts(self, rows: Ints) -> tuple[Ints, Ints]:
        """Two small parts of a micro-batch; where it has few rows, rows of an eighth and a quarter of its length."""
        if len(rows) >= 16:
            return rows[:1], rows[: len(rows) // 8]
        longest = int(self.lengths[rows].max())
        near = [int(np.abs(self.lengths - longest / part).argmin()) for part in (8, 4)]
        return np.array(near[:1]), np.array(near[1:])

    def _expected(self, size: int) -> int:
        """The peak that batches of this size will have; 0 where the system does not say what is in use."""
        return int(extrapolate(list(self.peaks.items()), size)) if self.peaks else 0

    def _update(self, rows: Ints) -> None:
        """One update on some rows; what it took goes to ``measured`` and ``peaks``."""
        self.loop.batches = _Chosen(self.batches, rows)
        self.loop.restore(self.start)
        try:
            with memory.Peak(self.device) as peak:
                _, seconds = self._timed(lambda: next(self._steps))
        finally:
            self.loop.batches = self.batches
        self.measured.append((Work.of(self.lengths[rows]), seconds))
        if peak.bytes is not None:
            size = self.batches.size(rows)
            self.peaks[size] = max(peak.bytes, self.peaks.get(size, 0))

    def _evaluation(self) -> float:
        """Seconds to each token of an evaluation, by rows of all lengths."""
        validation = self.rehearsal.validation
        lengths = np.array([len(ids) for ids in validation.ids], dtype=np.int64)
        if not len(lengths):
            return 0.0
        a_row = self.pace.seconds(Work.of(lengths)) / len(lengths)
        num_rows = min(SAMPLE_ROWS, len(lengths), max(4, int(self._left / 4 / max(1e-9, a_row))))
        spread = np.linspace(0, len(lengths) - 1, num_rows).round().astype(np.int64)
        sample = validation.take(np.argsort(lengths, kind="stable")[spread])
        weights = token_weights(sample)
        predict = partial(predict_logits, self.loop.worker.module, sample.ids, weights=weights)
        _, seconds = self._timed(predict)
        if seconds <= self._left:  # what is done once for all has been done
            _, seconds = self._timed(predict)
        return seconds / max(1, sum(len(ids) for ids in sample.ids))

    def _fill(self, draft: Draft) -> None:
        write_state(draft, self.loop.module, self.loop.optimizer)

    def _reload(self, folder: Path) -> None:
        read_weights(folder, self.loop.module)
        read_moments(folder, self.loop.module, self.loop.optimizer)

    def _put_back(self, folder: Path) -> None:
        """Everything as it was before the rehearsal."""
        read_weights(folder, self.loop.module)
        self.loop.optimizer.state.clear()
        self.loop.optimizer.zero_grad(set_to_none=True)
        self.loop.restore(self.start)

    def _timed(self, act: Callable[[], Any]) -> tuple[Any, float]:
        began = time.perf_counter()
        found = act()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return found, time.perf_counter() - began

    def _tell(self, done: int, note: str) -> None:
        self.rehearsal.tell(LABEL, done, 4, note)


def _moment_bytes(optimizer: torch.optim.Optimizer) -> int:
    states: Sequence[Mapping[str, Any]] = list(optimizer.state.values())
    return sum(v.nbytes for state in states for v in state.values() if isinstance(v, torch.Tensor))
