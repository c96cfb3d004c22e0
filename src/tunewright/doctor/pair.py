"""One process = two: the same job trained by two processes, which meet at a file and speak over loopback alone.

``python -m tunewright.doctor.pair RANK.json`` is one of the two. They are what ``launch.processes=2`` makes of a training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tunewright.doctor.job import Job, open_job
from tunewright.errors import MachineError
from tunewright.store.document import parse_object, render_json
from tunewright.store.durable import replace_document
from tunewright.store.output import writing
from tunewright.train.invariance import (
    UNLIMITED,
    Gradients,
    Invariance,
    Recorder,
    Subject,
    gap,
    gradient_gap,
    worst,
)
from tunewright.train.miniature import silence_dropout
from tunewright.train.ranks import ALONE, Alone, Group

PROCESSES = 2
ROWS = 3
"""To a batch: one rank has more rows than the other, and of the last batch, one row, the other has none."""

BOUND = 1e-5
LONGEST_SECONDS = 180
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"

Start = Callable[[Sequence[str], Mapping[str, str]], "subprocess.Popen[str]"]


def check_pair(job: Job, folder: Path, start: Start | None = None) -> Invariance:
    """Train the job in this process and in two others; compare losses and the last update. Raises MachineError."""
    replace_document(folder / "job.json", render_json(job))
    _run_ranks(folder, start or _start)
    losses, gradients = some_updates(job)
    found = parse_object((folder / "losses.json").read_bytes())["losses"]
    gaps = [gap(one, two) for one, two in zip(found, losses, strict=True)]
    from safetensors.torch import load_file

    gaps.append(gradient_gap(load_file(folder / "gradients.safetensors"), gradients))
    sentence = f"two processes give the losses and updates of one, over {len(losses)} updates"
    return Invariance(name="two processes", deviation=worst(*gaps), bound=BOUND, sentence=sentence)


def some_updates(job: Job, ranks: Alone = ALONE) -> tuple[list[float], Gradients]:
    """The losses of an epoch with clipping, and the gradients of its last update."""
    miniature = open_job(job)
    silence_dropout(miniature.module)
    recorder = Recorder(miniature.module, moves=True)
    loop = Subject(miniature).loop(recorder, ROWS, UNLIMITED, rate=0.01, clip_norm=1.0, ranks=ranks)
    losses = [step.loss for step in loop.steps()]
    return losses, recorder.seen[-1]


def main(path: Path) -> None:
    """One of the two processes."""
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    rank: Any = json.loads(path.read_text(encoding="utf-8"))
    folder, number = path.parent, int(rank["rank"])
    ranks = Group.meet((folder / "meeting").as_uri(), number, PROCESSES, "ddp")
    ranks.begin("cpu")
    try:
        losses, gradients = some_updates(json.loads((folder / "job.json").read_text(encoding="utf-8")), ranks)
    finally:
        ranks.end()
    if number == 0:
        with writing(folder / "gradients.safetensors") as temporary:
            save_file({name: value.contiguous() for name, value in gradients.items()}, temporary)
        replace_document(folder / "losses.json", render_json({"losses": losses}))


def _run_ranks(folder: Path, start: Start) -> None:
    processes = []
    try:
        for number in range(PROCESSES):
            replace_document(folder / f"rank-{number}.json", render_json({"rank": number}))
            command = [sys.executable, "-m", __name__, str(folder / f"rank-{number}.json")]
            processes.append(start(command, {"GLOO_SOCKET_IFNAME": LOOPBACK, "OMP_NUM_THREADS": "1"}))
        for process in processes:
            _, said = process.communicate(timeout=LONGEST_SECONDS)
            if process.returncode:
                raise _failed(said.strip().rpartition("\n")[2] or f"exit code {process.returncode}")
    except subprocess.TimeoutExpired as error:
        raise _failed(f"no answer within {LONGEST_SECONDS} seconds") from error
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this Python, with words of our own
        command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
    )  # fmt: skip


def _failed(given: str) -> MachineError:
    return MachineError(
        "two processes could not train together",
        where="tunewright doctor",
        given=given,
        allowed=f"two processes that reach each other over loopback ({LOOPBACK})",
        hint="training with one process is not concerned",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
