"""Kill a search again and again, and see whether its table ends as if nothing had happened. A program of its own.

    python kill_campaign_of_search.py FOLDER KILLS SEED                      stubs of twelve quick trials
    python kill_campaign_of_search.py FOLDER KILLS SEED DATA key=value ...   the real command on DATA

Every child is one search, from wherever the folder stands. Prints one JSON object.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kill_campaign import Campaign, Life
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
LOG = "evaluations.log"
STARTED = "started"


def stubs() -> Sequence[Life]:
    """A search with either pruner."""
    return tuple(
        Life(name=f"search-{pruner}", go=partial(stub_search, pruner), outcome=stub_outcome, progress=stub_progress)
        for pruner in ("median", "halving")
    )


def real(data: str, overrides: Sequence[str]) -> Life:
    """The search that the command line makes of ``data``."""

    def go(out: Path) -> None:
        from tunewright.tuning import tune

        tune(data, out=out, overrides=overrides)

    return Life(name="search", go=go, outcome=real_outcome)


def stub_search(pruner: str, out: Path) -> None:
    """Twelve trials of a function; like a run, a trial keeps where it is and goes on from there."""
    out.mkdir(parents=True, exist_ok=True)
    append(out / LOG, STARTED)
    options = {"trials": 12, "strategy": {"name": "tpe", "startup": 3}, "pruner": {"name": pruner, "startup": 2}}
    config = Tune.Config.model_validate(options)

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
            append(out / LOG, f"{trial.number} {len(values) + 1}")
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
        file.write(f"{line}\n")


def stub_progress(out: Path) -> int:
    """How many evaluations were made; each once, but for the one under way at a kill, which is made again."""
    lines = (out / LOG).read_text("utf-8").splitlines() if (out / LOG).is_file() else []
    made = [line for line in lines if line != STARTED]
    assert len(made) - len(set(made)) <= lines.count(STARTED), "an evaluation was repeated that was kept"
    return len(set(made))


def stub_outcome(out: Path) -> Mapping[str, object]:
    """The table of the stub: all but the times."""
    with open_study(out / "study.db", SPACE, higher_is_better=True) as study:
        trials = study.trials().all
    table = {f"trial {t.number}": [t.parameters, t.state, t.value, t.validations, t.reason] for t in trials}
    return {**table, "evaluations": stub_progress(out)}


def real_outcome(out: Path) -> Mapping[str, object]:
    """The table of a real search, and the steps of each trial: every one of them once."""
    found: dict[str, object] = {}
    for trial in json.loads((out / "result.json").read_text("utf-8"))["search"]["trials"]:
        number = trial["number"]
        found[f"trial {number}"] = [trial[name] for name in ("parameters", "state", "value", "validations", "reason")]
        if trial["state"] == "complete":  # one that was pruned may have been killed between the decision and its log
            events = EventLog(out / "trials" / f"{number:03d}" / "events.jsonl")
            found[f"steps of {number}"] = [event["step"] for event in events.read("step")]
    return found


def main(place: str, kills: str, seed: str, *rest: str) -> dict[str, Any]:
    """The stubs, or the real command where data are named."""
    lives = (real(rest[0], rest[1:]),) if rest else stubs()
    campaign = Campaign(lives, Path(place), int(seed))
    tally = campaign.at_random_times(int(kills))
    ends = [campaign.expected(life) for life in lives]
    states = {str(row[1]) for end in ends for row in end.values() if isinstance(row, list) and len(row) == 5}
    return {**asdict(tally), "states": sorted(states)}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
