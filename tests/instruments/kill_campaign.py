"""Kill what runs in a forked child, start it again by the same call, and see whether it ends as if nothing had happened.

    parent: imports only ─▶ fork ─▶ child: one run ─▶ SIGKILL ─▶ fork ─▶ child: goes on ─▶ ... ─▶ its end is compared

The parent imports once what every child would import, and computes nothing: a process that has computed with two threads
must not fork. Moments and operations are drawn from a seed; the machine's own timing is not, so a campaign that is repeated
meets other moments near the same ones.
"""

from __future__ import annotations

import importlib
import itertools
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EIO, ENOSPC, EROFS
from functools import partial
from pathlib import Path

from recording import ALLOCATING, FailingDisk
from tunewright.errors import MachineError
from tunewright.store.disk import LocalDisk, Operation, using

HUNG_SECONDS = 600.0
ENDED, BROKEN, REFUSED, UNTOUCHED = 0, 1, 3, 4
"""How a child ends: done; an error without four parts; one with four; done, and the failure it was to meet never came."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What is killed: ``go(folder)`` carries it from wherever it stands to its end.

    ``outcome(folder)`` is what must be the same, killed or not; ``progress(folder)`` is how far the folder stands, a number
    that may never fall, and raises AssertionError where something that was acknowledged is gone.
    """

    name: str
    go: Callable[[Path], None]
    outcome: Callable[[Path], Mapping[str, object]]
    progress: Callable[[Path], int] = lambda _: 0


@dataclass
class Tally:
    """What a campaign has done: ``kills`` (or failures of the disk), lives carried to their ends, and what was wrong."""

    kills: int = 0
    ended: int = 0
    most_in_one: int = 0
    wrong: list[str] = field(default_factory=list)


class Countdown(LocalDisk):
    """A disk that ends the process, as SIGKILL does, before the operation of a number (from 1)."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = itertools.count(1)

    def step(self, operation: Operation) -> None:
        if next(self.seen) == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def start(do: Callable[[], int | None], log: Path) -> int:
    """Fork a child that does one thing, writes what it says to ``log`` and leaves without cleaning up; its process id."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = do() or ENDED
    except MachineError as error:
        code = REFUSED if all((error.problem, error.where, error.given, error.allowed, error.hint)) else BROKEN
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """The child's exit code; None if it still runs after ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if (left := ends - time.monotonic()) <= 0:
            return None
        time.sleep(min(left, 0.002))


def kill(child: int) -> int:
    """End the child; its exit code, which is its own if it ended a moment before."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class Campaign:
    """Kills of one or more lives, under ``folder``; what ended wrong is left there, all else is removed."""

    def __init__(self, lives: Sequence[Life], folder: Path, seed: int, minutes: float = 1e9) -> None:
        """Nothing has run yet; no life is begun after ``minutes``."""
        self.lives = lives
        self.folder = folder
        self.draw = random.Random(seed)
        self.seed = seed
        self.tally = Tally()
        self._ends = time.monotonic() + 60 * minutes
        self._undisturbed: dict[str, tuple[Mapping[str, object], float]] = {}
        self._number = 0

    # ------------------------------------------------------------------------------------------------------- campaigns

    def at_random_times(self, kills: int) -> Tally:
        """Deal out ``kills`` over as many lives as it takes, one after the other."""
        for life in itertools.cycle(self.lives):
            if self.tally.kills >= kills or self._is_over():
                return self.tally
            _, seconds = self._reference(life)
            out, dealt, far, code = self._fresh(life), 0, 0, ENDED
            while self.tally.kills < kills:
                child = start(partial(_go, life, out), self._log(out))
                longest = seconds * 1.2**dealt  # a life that gets nowhere is given longer
                by_itself = wait(child, self.draw.uniform(0.0, longest))
                code = kill(child) if by_itself is None else by_itself
                if code != -signal.SIGKILL:
                    break
                self.tally.kills, dealt = self.tally.kills + 1, dealt + 1
                far = self._no_less(life, out, far)
            if code not in (ENDED, -signal.SIGKILL):
                self.tally.wrong.append(f"{life.name}, {dealt} kills: ended with {code} ({self._log(out)})")
            self.tally.most_in_one = max(self.tally.most_in_one, dealt)
            self._finish(life, out, f"{dealt} kills")
        raise AssertionError("no life to kill")

    def at_operations(self, every: int = 1) -> Tally:
        """Kill before the N-th file operation, for every N (or every so many, the first by seed); then while it recovers."""
        for life in self.lives:
            self.expected(life)
            for number in itertools.count(1 + self.seed % every, every):
                out = self._fresh(life)
                if self._is_over() or not self._killed_at(life, out, number):
                    break
                far = self._no_less(life, out, 0)
                again = self.draw.randint(1, 40)
                self._killed_at(life, out, again)
                self._no_less(life, out, far)
                self._finish(life, out, f"operation {number}, then {again} of what went on")
        return self.tally

    def on_a_failing_disk(self, every: int = 1) -> Tally:
        """Let the N-th file operation fail, for every N, by one kind of failure after the other; then mend the disk."""
        for life in self.lives:
            self.expected(life)
            for number in itertools.count(1 + self.seed % every, every):
                name, failing, is_of_all = _failures(number)[(number // every + self.seed) % 6]
                out = self._fresh(life)
                code = self._child(life, out, partial(failing, life, out))
                if code == UNTOUCHED:
                    shutil.rmtree(out.parent)
                if self._is_over() or (code == UNTOUCHED and is_of_all):
                    break
                if code == UNTOUCHED:
                    continue
                self.tally.kills += 1
                if code not in (ENDED, REFUSED):
                    self.tally.wrong.append(
                        f"{life.name}: {name} at {number}: the error lacks a part ({self._log(out)})"
                    )
                self._no_less(life, out, 0)
                self._finish(life, out, f"{name} at operation {number}")
        return self.tally

    def expected(self, life: Life) -> Mapping[str, object]:
        """How the life ends undisturbed."""
        return self._reference(life)[0]

    # ---------------------------------------------------------------------------------------------------------- inside

    def _is_over(self) -> bool:
        return time.monotonic() > self._ends

    def _fresh(self, life: Life) -> Path:
        self._number += 1
        out = self.folder / f"{self._number:05d}-{life.name}" / "run"
        out.parent.mkdir(parents=True)
        return out

    def _log(self, out: Path) -> Path:
        return out.parent / "log.txt"

    def _child(self, life: Life, out: Path, do: Callable[[], int | None]) -> int:
        child = start(do, self._log(out))
        code = wait(child, HUNG_SECONDS)
        if code is None:
            kill(child)
            self.tally.wrong.append(f"{life.name}: hung ({self._log(out)})")
            return BROKEN
        return code

    def _reference(self, life: Life) -> tuple[Mapping[str, object], float]:
        """The end of an undisturbed life, and its seconds; the parent then knows, too, all modules that it needs."""
        if life.name not in self._undisturbed:
            known = self.folder / f"modules of {life.name}.txt"
            out = self._fresh(life)
            assert self._child(life, out, lambda: _note_modules(life, out, known)) == ENDED, self._log(out).read_text()
            for name in known.read_text("utf-8").split():
                with suppress(Exception):
                    importlib.import_module(name)
            again, began = self._fresh(life), time.monotonic()
            assert self._child(life, again, lambda: life.go(again)) == ENDED, self._log(again).read_text()
            seconds = time.monotonic() - began
            expected = life.outcome(out)
            assert _differences(life.outcome(again), expected) == [], "two undisturbed lives differ"
            self._undisturbed[life.name] = (expected, seconds)
        return self._undisturbed[life.name]

    def _killed_at(self, life: Life, out: Path, number: int) -> bool:
        """Whether the child met the operation of this number, and its end there."""
        code = self._child(life, out, partial(_go_until, life, out, number))
        if code not in (ENDED, -signal.SIGKILL):
            self.tally.wrong.append(f"{life.name}, before operation {number}: ended with {code} ({self._log(out)})")
        self.tally.kills += code == -signal.SIGKILL
        return code != ENDED

    def _no_less(self, life: Life, out: Path, far: int) -> int:
        try:
            found = life.progress(out)
        except Exception as error:
            self.tally.wrong.append(f"{life.name}: {error!r} ({out})")
            return far
        if found < far:
            self.tally.wrong.append(f"{life.name}: stood at {far}, now at {found} ({out})")
        return found

    def _finish(self, life: Life, out: Path, told: str) -> None:
        """Carry on to the end without a kill; it must be the end of an undisturbed life."""
        before = len(self.tally.wrong)
        code = self._child(life, out, lambda: life.go(out))
        self.tally.ended += 1
        if code != ENDED:
            self.tally.wrong.append(f"{life.name}, {told}: ended with {code} ({self._log(out)})")
        else:
            unlike = _differences(life.outcome(out), self.expected(life))
            self.tally.wrong += [f"{life.name}, {told}: {', '.join(unlike)} differ ({out})"] if unlike else []
        if len(self.tally.wrong) == before:
            shutil.rmtree(out.parent)


def _go(life: Life, out: Path) -> None:
    life.go(out)


def _go_until(life: Life, out: Path, number: int) -> None:
    with using(Countdown(number)):
        life.go(out)


def _note_modules(life: Life, out: Path, known: Path) -> None:
    before = set(sys.modules)
    life.go(out)
    known.write_text("\n".join(name for name in sys.modules if name not in before), "utf-8")


def _differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    return [name for name in {**expected, **found} if name not in found or found[name] != expected.get(name)]


def _failures(number: int) -> Sequence[tuple[str, Callable[[Life, Path], int], bool]]:
    """The kinds of failure, six, each to begin at the operation of this number; and whether all operations are counted."""
    disks = (
        ("ENOSPC once", FailingDisk(number, ENOSPC)),
        ("EIO once", FailingDisk(number, EIO)),
        ("EROFS from there on", FailingDisk(number, EROFS, persistent=True)),
        ("EIO from there on", FailingDisk(number, EIO, persistent=True)),
        ("ENOSPC from there on", FailingDisk(number, ENOSPC, persistent=True, kinds=ALLOCATING)),
    )
    limit = (f"no file beyond {500 * number} bytes", partial(_go_limited, 500 * number), False)
    return [*((name, partial(_go_on, disk), disk.kinds is None) for name, disk in disks), limit]


def _go_on(disk: FailingDisk, life: Life, out: Path) -> int:
    with using(disk):
        life.go(out)
    return ENDED if disk.num_failures else UNTOUCHED


def _go_limited(num_bytes: int, life: Life, out: Path) -> int:
    """Under the system's own limit on the length of a file, which every library meets."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
    life.go(out)
    return UNTOUCHED
