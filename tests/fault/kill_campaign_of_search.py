"""Kill a search again and again, and see whether its table ends as if nothing had happened. A program of its own.

    python kill_campaign_of_search.py FOLDER KILLS SEED                      a stub of twelve quick trials
    python kill_campaign_of_search.py FOLDER KILLS SEED DATA key=value ...   the real command on DATA

The parent only imports and forks; every child is one search, from wherever the folder stands. Prints one JSON object.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunewright.store.durable import replace_document
from tunewright.store.events import EventLog
from tunewright.tune.config import Tune
from tunewright.tune.search import Evaluated, TrialFailed, search
from tunewright.tune.study import open_study
from tunewright.types import Range, Space, Trial
from tunewright.types.search import Value

SPACE: Space = {
    "x": Range(low=1e-4, high=1.0, log=True),
    "depth": Range(low=1, high=6, whole=True),
    "kind": ("甲", "b"),
}
EVALUATIONS = 5


def stub_search(out: Path) -> None:
    """Twelve trials of a function; like a run, a trial keeps where it is and goes on from there."""
    out.mkdir(parents=True, exist_ok=True)
    pruner = {"name": "halving" if "halving" in str(out) else "median", "startup": 2}
    config = Tune.Config.model_validate({"trials": 12, "strategy": {"name": "tpe", "startup": 3}, "pruner": pruner})

    def measure(trial: Trial, evaluated: Evaluated) -> float | None:
        place = out / f"{trial.number:03d}.json"
        values: list[float] = json.loads(place.read_text("utf-8")) if place.is_file() else []
        depth = number_of(trial.parameters["depth"])
        if depth == 6:
            raise TrialFailed("深度 6 cannot be measured")
        while len(values) < EVALUATIONS:
            time.sleep(0.002)
            distance = abs(math.log10(number_of(trial.parameters["x"])) + 2) + abs(depth - 3)
            value = -distance + (trial.parameters["kind"] == "甲") + 0.6 * math.sin(len(values) * (1 + depth))
            append(out / "evaluations.log", f"{trial.number} {len(values) + 1}\n")
            is_over = evaluated(len(values) + 1, value)
            values.append(value)
            replace_document(place, json.dumps(values).encode())
            if is_over:
                return None
        return max(values)

    with open_study(out / "study.db", SPACE, higher_is_better=True) as study:
        search(config, SPACE, measure, study)


def number_of(value: Value) -> float:
    """The value of an option that holds numbers."""
    assert isinstance(value, int | float)
    return value


def append(path: Path, line: str) -> None:
    """One line more, at once."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def stub_outcome(out: Path) -> list[Any]:
    """The table of the stub: all but the times."""
    with open_study(out / "study.db", SPACE, higher_is_better=True) as study:
        return [[t.number, t.parameters, t.state, t.value, t.validations, t.reason] for t in study.trials().all]


def real_outcome(out: Path) -> list[Any]:
    """The table of a real search, and the steps of each trial: every one of them once."""
    trials = json.loads((out / "result.json").read_text("utf-8"))["search"]["trials"]
    table = [[t[name] for name in ("number", "parameters", "state", "value", "validations", "reason")] for t in trials]
    for trial in trials:
        events = EventLog(out / "trials" / f"{trial['number']:03d}" / "events.jsonl")
        if trial["state"] == "complete":  # one that was pruned may have been killed between the decision and its log
            table.append([trial["number"], [event["step"] for event in events.read("step")]])
    return table


def start(go: Callable[[Path], None], out: Path) -> int:
    """Fork a child that searches to the end and leaves without cleaning up; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        go(out)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, seconds: float | None) -> int | None:
    """The child's exit code, or None if it still runs after ``seconds``."""
    ends = None if seconds is None else time.monotonic() + seconds
    while ends is None or time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG if ends is not None else 0)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def campaign(
    folder: Path, num_kills: int, seed: int, go: Callable[[Path], None], outcome: Callable[[Path], list[Any]]
) -> dict[str, Any]:
    """One undisturbed search, then searches that are killed until ``num_kills`` have been dealt out; all must end alike."""
    undisturbed = folder / "undisturbed"
    began = time.monotonic()
    assert wait(start(go, undisturbed), None) == 0, "the undisturbed search failed"
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    attempts, kills, most_in_one = 0, 0, 0
    found: list[Path] = []
    while kills < num_kills or attempts == 0:
        out, in_this_one = folder / f"attempt-{attempts}", 0
        while True:
            child = start(go, out)
            code = wait(child, moments.uniform(0.0, seconds / 2) if kills < num_kills else None)
            if code is not None:
                break
            os.kill(child, signal.SIGKILL)
            wait(child, None)
            kills, in_this_one = kills + 1, in_this_one + 1
        assert code == 0, f"attempt {attempts} ended with {code}"
        found.append(out)
        attempts, most_in_one = attempts + 1, max(most_in_one, in_this_one)
    expected = outcome(undisturbed)
    log = "evaluations.log"
    repeated = {
        str(out.name): len(lines) - len(set(lines))
        for out in found
        if (out / log).is_file() and (lines := (out / log).read_text("utf-8").splitlines())
    }
    return {
        "kills": kills,
        "attempts": attempts,
        "most_kills_in_one": most_in_one,
        "trials": len(expected),
        "states": sorted({str(row[2]) for row in expected if len(row) > 2}),
        "unlike": [out.name for out in found if outcome(out) != expected],
        "repeated_evaluations": repeated,
    }


def main(place: str, kills: str, seed: str, *rest: str) -> dict[str, Any]:
    """The stub, or the real command where data are named."""
    stub_search(Path(place) / "warm-median")  # loads once here what every child would load
    if not rest:
        return campaign(Path(place), int(kills), int(seed), stub_search, stub_outcome)
    if "method=lora" in rest:
        import peft  # noqa: F401 - likewise
        import transformers.models.llama.modeling_llama
    else:
        import transformers.models.bert.modeling_bert  # noqa: F401

    from tunewright.tuning import tune

    def real_search(out: Path) -> None:
        tune(rest[0], out=out, overrides=rest[1:])

    return campaign(Path(place), int(kills), int(seed), real_search, real_outcome)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
