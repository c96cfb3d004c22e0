"""The rehearsal: before the first step each piece of a training is run for real, and nothing of it stays.

    save ─▶ updates, from a small one to the longest ─▶ evaluation ─▶ save ─▶ reload ─▶ as if nothing had been

The first save is what is reloaded at the end, so that no second copy of the weights is held in memory; with the moments
forgotten and the position set back the training begins with the bits that it would have begun with. Each batch is run only
where what the smaller ones took says that it fits. What is learnt becomes the Forecast, and a training that does not fit
stops here, with what to change.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tunewright.errors import GateError
from tunewright.infer.batch import group_by_tokens
from tunewright.infer.predict import predict_logits
from tunewright.store.artifact import open_artifact
from tunewright.store.run import RunFolder
from tunewright.train import memory
from tunewright.train.batches import Batches, Examples, token_weights
from tunewright.train.config import Train
from tunewright.train.forecast import (
    Forecast,
    Pace,
    Work,
    all_work,
    explained,
    extrapolate,
    fit_pace,
    fitting_budget,
    in_words,
    largest_padded,
    num_commits,
)
from tunewright.train.state import changing, read_moments, read_weights, write_state
from tunewright.types import Base, Choice, Encoded, Ints, Plan, Tell
from tunewright.words import counted, size

if TYPE_CHECKING:
    from tunewright.store.checkpoints import CheckpointStore
    from tunewright.train.loop import Loop

DOCUMENT = "forecast.json"
MOST_SECONDS = 60.0
MOST_SHARE = 0.05
"""Of the time that training is forecast to take: what a rehearsal may cost before the rest of it is left out."""

SAFE = 0.95
"""The share of free memory that a training may plan with: the machine does other things, too."""

SAMPLE_ROWS = 64
"""Validation rows that stand for all of them; more would tell the rate no better."""

LABEL = "rehearsing"


@dataclass
class Rehearsal:
    """Called with a loop that is ready for its first step; ``compare`` sets the facts beside the forecast afterwards."""

    config: Train.Config
    plan: Plan
    folder: RunFolder
    base: Base
    encoded: Encoded
    validation: Examples
    command: Sequence[str]
    say: Callable[[Choice], None]
    tell: Tell
    _ended: float | None = field(default=None, init=False)

    def __call__(self, loop: Loop) -> None:
        """Rehearse, keep and tell the forecast; where training goes on from a commit, tell the one that was kept.

        Raises GateError where memory or disk will not do, unless ``train.allow`` names it.
        """
        if loop.step == 0:
            forecast = self._run(loop)
            self.folder.write_document(DOCUMENT, {"forecast": forecast.as_json(), "told": self._told(forecast)})
            self._ended = time.monotonic()
        if (kept := self.folder.read_json(DOCUMENT)) is not None:
            self.say(Choice("forecast", *kept["told"]))

    def compare(self) -> None:
        """Keep what the training took beside its forecast; no time where an earlier process did a part of it."""
        kept = self.folder.read_json(DOCUMENT)
        if kept is None:
            return
        stages = (open_artifact(self.folder.stage(name), verify=False) for name in ("model", "adapter"))
        written = [*self.folder.checkpoints().commits(), *(stage for stage in stages if stage)]
        kept["fact"] = {
            "num_updates": len(self.folder.events().read("step")),
            "train_seconds": None if self._ended is None else time.monotonic() - self._ended,
            "memory_bytes": memory.peak_bytes(str(self.plan["train.device"])),
            "disk_bytes": sum(each.num_bytes for each in written),
        }
        self.folder.write_document(DOCUMENT, kept)

    def _told(self, forecast: Forecast) -> list[str]:
        return [in_words(forecast), explained(forecast, self.encoded.splits["test"])]

    def _run(self, loop: Loop) -> Forecast:
        devices = [torch.cuda.current_device()] if self.plan["train.device"] == "cuda" else []
        with self.folder.scratch() as scratch, torch.random.fork_rng(devices):
            pieces = _Pieces(self, loop, scratch)
            try:
                return pieces.rehearse()
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and "memory" not in str(error):
                    raise  # torch says so in words alone where a CPU's memory is short
                raise self._short_of_memory(pieces, None) from error

    def require_disk(self, num_bytes: int) -> None:
        """Raise GateError unless so much is free where the run stands, or the recipe allows it."""
        free = shutil.disk_usage(self.folder.folder).free
        if num_bytes <= free:
            return
        problem = "the disk has not enough room for this training's checkpoints and its model"
        if not self._allows("disk", f"{problem}: {size(num_bytes)}, {size(free)} are free"):
            raise GateError(
                problem,
                where=str(self.folder.folder),
                given=f"{size(num_bytes)} to write",
                allowed=f"{size(free)}, what is free now",
                hint=f"free some space, or train less: {self._having('method', 'lora')}{self._anyway('disk')}",
            )

    def allows_memory(self, pieces: _Pieces, peak: float) -> bool:
        """Whether a peak fits. Raises GateError where it does not, unless the recipe allows it."""
        limit = pieces.limit
        if limit is None or peak <= limit:
            return True
        if not self._allows("memory", f"training needs {size(peak)} of memory, {size(max(0, limit))} are there"):
            raise self._short_of_memory(pieces, peak)
        return False

    def _short_of_memory(self, pieces: _Pieces, peak: float | None) -> GateError:
        budget = int(self.plan["train.token_budget"])
        limit = 0.0 if pieces.limit is None else max(0.0, pieces.limit)
        fitting = fitting_budget(pieces.peaks, limit) if pieces.peaks else 0
        if int(pieces.lengths.max()) <= fitting < budget:
            change = self._having("train.token_budget", fitting)
        elif pieces.trains_most:
            change = self._having("method", "lora")
        else:
            change = self._having("encode.max_length", max(8, int(pieces.lengths.max()) // 2))
        needed = "more than there is" if peak is None else size(peak)
        return GateError(
            "training will not fit into memory",
            where="train.token_budget",
            given=f"{needed} at {counted(budget, 'padded token')} in a micro-batch",
            allowed=f"{size(limit)}, with what this process holds already",
            hint=f"{change}{self._anyway('memory')}",
        )

    def _allows(self, what: str, message: str) -> bool:
        allowed = what in self.config.allow
        if allowed:
            self.say(Choice(f"train.allow.{what}", "allowed", message))
        return allowed

    def _having(self, path: str, value: object) -> str:
        """The run's own command with another value of an option."""
        words = [word for word in self.command if not word.startswith(f"{path}=")]
        return shlex.join([*words, f"{path}={value}"])

    def _anyway(self, what: str) -> str:
        return f"; to go on all the same: train.allow=[{', '.join([*self.config.allow, what])}]"


class _Chosen(Batches):
    """The same batches, with the rows that the rehearsal wants at every step."""

    def __init__(self, batches: Batches, rows: Ints) -> None:
        self.__dict__.update(vars(batches))
        self._rows = rows

    def rows(self, step: int) -> Ints:
        return self._rows


class _Pieces:
    """The pieces of one training, run one after another; what they took."""

    def __init__(self, rehearsal: Rehearsal, loop: Loop, scratch: CheckpointStore) -> None:
        self.rehearsal, self.loop, self.scratch = rehearsal, loop, scratch
        self.began = time.monotonic()
        self.device = loop.settings.device
        self.batches = loop.batches
        self.start = loop.state()
        self.lengths = np.array([len(ids) for ids in self.batches.examples.ids], dtype=np.int64)
        self.measured: list[tuple[Work, float]] = []
        self.peaks: list[tuple[int, int]] = []
        self.num_trained = sum(value.nbytes for value in changing(loop.module).values())
        self.trains_most = self.num_trained * 2 > sum(value.nbytes for value in loop.module.parameters())
        self._steps: Iterator[Any] = loop.steps()

    @property
    def limit(self) -> float | None:
        """The most that this process may come to hold."""
        used, free = memory.used_bytes(self.device), memory.free_bytes(self.device)
        return None if used is None or free is None else used + SAFE * free

    def rehearse(self) -> Forecast:
        """Run the pieces, put everything back, and say what they tell."""
        rehearsal, num_epochs = self.rehearsal, int(self.rehearsal.plan["train.epochs"])
        rehearsal.require_disk(2 * self.num_trained)
        moments = 2 if type(self.loop.optimizer).__name__ in ("Adam", "AdamW") else 0
        rehearsal.allows_memory(self, (memory.used_bytes(self.device) or 0) + (1 + moments) * self.num_trained)
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
        _, reload_seconds = self._timed(lambda: self._reload(newest.folder))
        self._put_back(saved.folder)
        peak = memory.peak_bytes(self.device)
        is_measured = longest <= max(padded for padded, _ in self.peaks)
        if peak is not None and not is_measured:
            peak = max(peak, int(extrapolate(self.peaks, longest)))
        update_seconds = repeats * sum(map(self.pace.seconds, work))
        num_updates = self.loop.settings.num_steps
        num_evaluations = -(-num_updates // (rehearsal.config.evaluate_every or self.batches.steps_per_epoch))
        commits = num_commits(num_evaluations, update_seconds, rehearsal.config.commit_seconds)
        model_bytes = 4 * rehearsal.base.num_parameters  # a tuned model is saved whole and in fp32
        rehearsal.require_disk(max(3 * commit_bytes, 2 * commit_bytes + model_bytes))  # one is written before one goes
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
            disk_bytes=min(2, commits) * commit_bytes + model_bytes,
            rehearsal_seconds=time.monotonic() - self.began,
            is_measured=is_measured,
        )

    # -------------------------------------------------------------------------------------------------------- inside

    @property
    def pace(self) -> Pace:
        """The pace by what was measured so far."""
        return fit_pace(self.measured)

    @property
    def _left(self) -> float:
        """Seconds that the rehearsal may still take."""
        return self.allowance - (time.monotonic() - self.began)

    def _updates(self, work: Sequence[Work], repeats: float) -> int:
        """Run updates that grow to the longest, then usual ones, while there is time; padded tokens of the largest."""
        order = sorted(range(len(work)), key=lambda step: work[step].tokens)
        rows = self._sorted(self.batches.rows(order[-1]))
        found = [int(length) for length in self.lengths[rows]]
        first = rows[next(group_by_tokens(found, self.batches.token_budget))]
        padded = largest_padded(self.lengths[rows], self.batches.token_budget)
        small = self._smaller(first)
        self._update(small[0], is_timed=False)
        self._update(small[1])
        self.allowance = min(MOST_SECONDS, MOST_SHARE * repeats * sum(map(self.pace.seconds, work)))
        usual = [self.batches.rows(order[round(share * (len(order) - 1))]) for share in (0.5, 0.1)]
        for chosen in (first[: len(first) // 2], first, rows, *usual, rows, *usual):
            fits = self.rehearsal.allows_memory(self, self._expected(chosen))
            if len(chosen) and fits and self.pace.seconds(Work.of(self.lengths[chosen])) <= self._left:
                self._update(chosen)
        self.rehearsal.allows_memory(self, extrapolate(self.peaks, padded))
        return padded

    def _smaller(self, rows: Ints) -> tuple[Ints, Ints]:
        """Two small parts of a micro-batch; where it has few rows, two rows of an eighth and a quarter of its length."""
        if len(rows) >= 16:
            return rows[:1], rows[: len(rows) // 8]
        longest = int(self.lengths[rows].max())
        near = [int(np.abs(self.lengths - longest / part).argmin()) for part in (8, 4)]
        return np.array(near[:1]), np.array(near[1:])

    def _expected(self, rows: Ints) -> float:
        padded = largest_padded(self.lengths[rows], self.batches.token_budget) if len(rows) else 0
        return extrapolate(self.peaks, padded)

    def _update(self, rows: Ints, *, is_timed: bool = True) -> None:
        """One update on some rows; what it took goes to ``measured`` and ``peaks``."""
        self.loop.batches = _Chosen(self.batches, self._sorted(rows))
        self.loop.restore(self.start)
        try:
            with memory.Peak(self.device) as peak:
                _, seconds = self._timed(lambda: next(self._steps))
        finally:
            self.loop.batches = self.batches
        if is_timed:
            self.measured.append((Work.of(self.lengths[rows]), seconds))
        if peak.bytes is not None:
            padded = largest_padded(self.lengths[rows], self.batches.token_budget)
            known = dict(self.peaks)
            self.peaks = sorted({**known, padded: max(peak.bytes, known.get(padded, 0))}.items())

    def _sorted(self, rows: Ints) -> Ints:
        """Longest first, as an update takes them."""
        return rows[np.argsort(-self.lengths[rows], kind="stable")]

    def _evaluation(self) -> float:
        """Seconds to each token of an evaluation, by rows of all lengths."""
        validation = self.rehearsal.validation
        order = np.argsort([len(ids) for ids in validation.ids], kind="stable")
        spread = np.linspace(0, len(order) - 1, min(SAMPLE_ROWS, len(order))).round().astype(np.int64)
        sample = validation.take(order[spread])
        weights = token_weights(sample)
        predict = partial(predict_logits, self.loop.worker.module, sample.ids, weights=weights)
        _, seconds = self._timed(predict)
        if seconds <= self._left:  # what is done once for all has been done
            _, seconds = self._timed(predict)
        return seconds / max(1, sum(len(ids) for ids in sample.ids))

    def _fill(self, draft: Any) -> None:
        write_state(draft, self.loop.module, self.loop.optimizer)

    def _reload(self, folder: Any) -> None:
        read_weights(folder, self.loop.module)
        read_moments(folder, self.loop.module, self.loop.optimizer)

    def _put_back(self, folder: Any) -> None:
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
