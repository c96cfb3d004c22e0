"""Replay: rebuild a run from its own recipe and compare what comes out, weight by weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunewright.answering import locate_run
from tunewright.errors import InputError
from tunewright.pipeline import Pinned, Watcher, run
from tunewright.store.digest import sha256_file
from tunewright.store.run import RECIPE, RESULT, RunFolder, is_run, unfinished
from tunewright.store.runs import clear

TOLERANCE = 2e-2
"""On another machine, another rounding: after hundreds of updates in bf16 weights of a few tenths differ in the third digit."""

WEIGHTS = "model.safetensors"


def replay(
    original: str | Path, *, out: str | Path | None = None, runs: str | Path = "runs", watcher: Watcher | None = None
) -> dict[str, Any]:
    """Run the original's filled recipe again beside it, with its plan, and compare.

    Returns ``identical`` (bit for bit), ``largest_difference`` between weights, ``tolerance``, ``within_tolerance``, the
    environment's differences, and both verdicts. Raises InputError when the run is not finished or its data have changed.
    """
    folder = locate_run(original, runs)
    before = _result(folder)
    target = Path(out) if out is not None else folder / "replay"
    if is_run(target):
        _clear_replay(target)
    pinned = Pinned(choices=tuple(before["plan"]), data=before["hashes"]["data"])
    command = ["tunewright", "replay", str(original)]
    after = run(folder / RECIPE, out=target, pinned=pinned, watcher=watcher, command=command)
    difference = largest_difference(folder / "model" / WEIGHTS, target / "model" / WEIGHTS)
    same = sha256_file(folder / "model" / WEIGHTS) == sha256_file(target / "model" / WEIGHTS)
    return {
        "original": str(folder),
        "replay": str(target),
        "identical": same,
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "within_tolerance": difference <= TOLERANCE,
        "environment": changed(before["environment"], after["environment"]),
        "verdicts": [before.get("verdict", {}).get("outcome"), after.get("verdict", {}).get("outcome")],
        "report": after["report"],
    }


def largest_difference(first: Path, second: Path) -> float:
    """The largest absolute difference between two files of weights with the same names and shapes."""
    from safetensors import safe_open

    largest = 0.0
    with safe_open(first, framework="pt") as left, safe_open(second, framework="pt") as right:
        if set(left.keys()) != set(right.keys()):
            return float("inf")
        for name in left.keys():  # noqa: SIM118 - not a mapping
            gap = (left.get_tensor(name).double() - right.get_tensor(name).double()).abs()
            largest = max(largest, float(gap.max()) if gap.numel() else 0.0)
    return largest


def changed(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two environments, one line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [line for key in keys for line in changed(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))]
    return [] if before == after else [f"{path}: {before} -> {after}"]


def _clear_replay(target: Path) -> None:
    """Take an earlier replay away, and nothing else."""
    if RunFolder.open(target).command[1:2] != ("replay",):
        raise InputError(
            "this folder holds a run that is no replay",
            where="--out",
            given=str(target),
            allowed="a new or empty folder, or that of an earlier replay",
            hint=f"--out {target}-replay",
        )
    clear(target)


def _result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    if not path.is_file() or not (folder / "model" / WEIGHTS).is_file():
        raise unfinished(RunFolder.open(folder))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content["config"]["values"]["data"]["path"] is None:
        raise InputError(
            "the rows were handed over in memory, so they cannot be read again",
            where=str(folder),
            allowed="a run on files",
            hint="save the rows to a file and run that",
        )
    return content
