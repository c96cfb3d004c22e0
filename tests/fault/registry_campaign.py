"""Do one thing after the other to a shelf until killed. A program of its own, started by tests.

    python registry_campaign.py FOLDER SEED STEP

Says what it begins and what is done, one line each. Kills itself before its STEP-th step (a call to the disk or a statement
to the database), where STEP is not 0.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

from tunewright.errors import InputError
from tunewright.store.artifact import Draft
from tunewright.store.disk import LocalDisk, Operation, using
from tunewright.store.registry import Registry
from tunewright.store.run import RunFolder


class Countdown(LocalDisk):
    """A disk that ends the process, as a power cut would, before a given step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def step(self, operation: Operation | str) -> None:
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def made(folder: Path, content: str) -> Path:
    """A finished run with a model of some kilobytes."""
    run = RunFolder.open(folder, create=True, identity=content)

    def fill(draft: Draft) -> None:
        draft.write_bytes("weights.bin", content.encode() * 1000)
        draft.write_json("config.json", {"content": content})

    for stage in ("model", "data"):
        run.commit_stage(stage, f"{stage} {content}", fill)
    run.write_document("result.json", {"verdict": {"outcome": "better"}, "hashes": {}, "content": content})
    return folder


def say(*words: object) -> None:
    """One line in one write: print makes several where output is unbuffered, and a kill could fall between them."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def act(shelf: Registry, draw: random.Random, runs: Path) -> None:
    """One thing, drawn by chance; what the shelf refuses is no act."""
    versions = shelf.versions("reviews") if shelf.versions() else ()
    kind = "add" if len(versions) < 2 else draw.choice(["add", "promote", "promote", "rollback", "remove"])
    number = draw.choice([each.number for each in versions]) if versions else 0
    run = runs / f"{draw.getrandbits(64):x}"
    if kind == "add":
        made(run, run.name)
    say("begin", kind)
    try:
        if kind == "add":
            done = shelf.add("reviews", run)
        elif kind == "promote":
            done = shelf.promote("reviews", number)
        else:
            done = shelf.rollback("reviews") if kind == "rollback" else shelf.remove("reviews", number)
        say("done", kind, done.number)
    except InputError:
        say("refused", kind)


def main(folder: Path, seed: int, steps: int) -> None:
    """Act until killed."""
    draw, disk = random.Random(seed), Countdown(steps)
    say("ready")
    with using(disk), Registry(folder / "registry", create=True) as shelf:
        shelf._database._connection.set_trace_callback(disk.step)
        while True:
            act(shelf, draw, folder / "runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
