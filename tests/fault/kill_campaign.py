"""Kill a run again and again, and see whether it ends as if nothing had happened. A program of its own, started by tests.

    python kill_campaign.py FOLDER KILLS SEED DATA key=value ...

The parent only imports and forks (a process that has computed with two threads must not fork); every child is one run, by
the same call as the command line makes. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tunewright.pipeline import run
from tunewright.store.digest import sha256_file
from tunewright.store.events import EventLog

STEP_FACTS = ("step", "epoch", "loss", "lr", "gradient_norm", "num_examples", "num_tokens", "skipped")


def start(data: str, out: Path, overrides: list[str]) -> int:
    """Fork a child that runs to the end and leaves without cleaning up; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        run(data, out=out, overrides=overrides)
        code = 0
    finally:
        os._exit(code)


def wait(child: int, seconds: float | None) -> int | None:
    """The child's exit code, or None if it still runs after ``seconds``."""
    ends = None if seconds is None else time.monotonic() + seconds
    while ends is None or time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG if ends is not None else 0)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def outcome(out: Path) -> dict[str, object]:
    """What must be the same, killed or not: the weights, every step's facts, the metrics and the verdict."""
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    steps = [tuple(event[key] for key in STEP_FACTS) for event in EventLog(out / "events.jsonl").read("step")]
    evaluations = [(e["step"], e["value"]) for e in EventLog(out / "events.jsonl").read("evaluation")]
    return {
        "weights": sha256_file(out / "model" / "model.safetensors"),
        "steps": steps,
        "evaluations": evaluations,
        "metrics": result["metrics"],
        "verdict": result["verdict"],
    }


def campaign(folder: Path, num_kills: int, seed: int, data: str, overrides: list[str]) -> dict[str, object]:
    """One undisturbed run, then runs that are killed until ``num_kills`` have been dealt out; all must end alike."""
    began = time.monotonic()
    undisturbed = folder / "undisturbed" / "run"
    assert wait(start(data, undisturbed, overrides), None) == 0, "the undisturbed run failed"
    seconds = time.monotonic() - began
    expected = outcome(undisturbed)
    moments = random.Random(seed)
    killed_at: list[float] = []
    unlike: list[str] = []
    attempt = 0
    out = folder / "attempt-0" / "run"
    while True:
        child = start(data, out, overrides)
        delay = moments.uniform(0.0, seconds) if len(killed_at) < num_kills else None
        code = wait(child, delay)
        if code is None:
            os.kill(child, signal.SIGKILL)
            wait(child, None)
            killed_at.append(round(delay or 0.0, 3))
            continue
        if code != 0:
            unlike.append(f"attempt {attempt} ended with {code}")
        elif (found := outcome(out)) != expected:
            unlike.append(f"attempt {attempt}: " + ", ".join(name for name in found if found[name] != expected[name]))
        if len(killed_at) >= num_kills or code != 0:
            break
        attempt += 1
        out = folder / f"attempt-{attempt}" / "run"
    return {
        "kills": len(killed_at),
        "killed_at_seconds": killed_at,
        "attempts": attempt + 1,
        "undisturbed_seconds": round(seconds, 2),
        "weights": expected["weights"],
        "unlike": unlike,
    }


if __name__ == "__main__":
    place, kills, first_seed, rows, *options = sys.argv[1:]
    print(json.dumps(campaign(Path(place), int(kills), int(first_seed), rows, options)))
