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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tunewright.errors import GateError
from tunewright.store.artifact import open_artifact
from tunewright.store.run import RunFolder
from tunewright.train import memory
from tunewright.train.batches import Examples
from tunewright.train.config import Train
from tunewright.train.forecast import Forecast, explained, fitting_budget, in_words
from tunewright.train.pieces import Pieces
from tunewright.train.recompute import can_recompute
from tunewright.types import Base, Choice, Encoded, Plan, Tell
from tunewright.words import counted, size

if TYPE_CHECKING:
    from tunewright.train.loop import Loop

DOCUMENT = "forecast.json"


LESS = {False: "mlp", "mlp": "true"}
"""The value of ``train.recompute`` that needs less memory than another one."""


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
        written: list[Any] = [*self.folder.checkpoints().commits(), *(stage for stage in stages if stage)]
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
            pieces = Pieces(self, loop, scratch)
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

    def allows_memory(self, pieces: Pieces, peak: float) -> bool:
        """Whether a peak fits. Raises GateError where it does not, unless the recipe allows it."""
        limit = pieces.limit
        if limit is None or peak <= limit:
            return True
        if not self._allows("memory", f"training needs {size(peak)} of memory, {size(max(0, limit))} are there"):
            raise self._short_of_memory(pieces, peak)
        return False

    def _short_of_memory(self, pieces: Pieces, peak: float | None) -> GateError:
        budget = int(self.plan["train.token_budget"])
        limit = 0.0 if pieces.limit is None else max(0.0, pieces.limit)
        fitting = fitting_budget(list(pieces.peaks.items()), limit) if pieces.peaks else 0
        if int(pieces.lengths.max()) <= fitting < budget:
            change = self._having("train.token_budget", fitting)
        elif self.plan["train.recompute"] in LESS and can_recompute(pieces.loop.module):
            change = self._having("train.recompute", LESS[self.plan["train.recompute"]])
        elif pieces.trains_most:
            change = self._having("method", "lora")
        else:
            change = self._having("encode.max_length", max(8, int(pieces.lengths.max()) // 2))
        needed = "more than there is" if peak is None else size(peak)
        return GateError(
            "training will not fit into memory",
            where="train.token_budget",
            given=f"{needed} at {counted(budget, 'token')} in a micro-batch",
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
