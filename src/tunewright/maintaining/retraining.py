"""Tune anew with more rows; the live version stays unless it is beaten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tunewright.errors import InputError
from tunewright.evaluate.checks import name_checks
from tunewright.evaluate.verdict import judge_pair
from tunewright.maintaining.comparing import Contest, contest
from tunewright.pipeline import Watcher, run
from tunewright.store.document import finite_or_none
from tunewright.store.registry import Registry
from tunewright.store.run import RESULT, read_document
from tunewright.store.version import Version, read_candidate, verify
from tunewright.types import Decision

JUDGED = "rows that neither was tuned on"


def retrain(
    name: str,
    file: str | Path,
    *,
    registry: str | Path = "registry",
    out: str | Path | None = None,
    runs: str | Path = "runs",
    accept_verdict: bool = False,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the live version's recipe again with the rows of ``file`` added, and promote what comes of it if it is better.

    Better means: the challenger's own verdict is ``better`` (or any, with ``accept_verdict``), and it wins by the same paired
    test at 0.05 against the live version, on the test rows that neither has been trained or validated on. A model that
    writes text has to predict them better, and its own answers must not be worse by the margin of the verdict. Either way
    the decision is written into the registry. Returns ``decision``, ``run``, ``report`` and ``verdict``. Raises InputError,
    GateError (also where another version has become live meanwhile), CorruptError, MachineError.
    """
    watcher = watcher or Watcher()
    with Registry(Path(registry)) as shelf:
        live = shelf.current(name)
        verify(live)
        options = _recipe_with(live, str(file))
        command = list(command) or ["tunewright", "retrain", name, str(file)]
        recipe = live.folder / "recipe.yaml"
        result = run(recipe, out=out, runs=runs, overrides=options, watcher=watcher, command=command)
        challenger = Path(result["run"])
        found = contest(live.folder, challenger, result, f"the live version {live.number}", watcher.tell)
        wins, reason = _judge(found, result["verdict"]["outcome"], accept_verdict)
        if read_candidate(challenger).digest == live.digest:
            wins, reason = False, "the live version is this very run"
        decision = Decision(
            outcome="promote" if wins else "keep",
            name=name,
            live=live.number,
            challenger=str(challenger),
            version=None,
            num_rows=found.num_rows,
            comparison=found.comparison,
            checks=found.checks,
            reason=reason,
        )
        decision = _carry_out(shelf, decision, accept_verdict)
    kept = {key: result[key] for key in ("run", "report", "verdict")}
    return {"decision": finite_or_none(asdict(decision)), **kept}


def _carry_out(shelf: Registry, decision: Decision, accept_verdict: bool) -> Decision:
    """Promote or keep; what is written beside it are the decision's own numbers."""
    if decision.outcome == "keep":
        shelf.keep(decision.name, decision.reason, asdict(decision))
        return decision
    note = f"retrained from version {decision.live}"
    added = shelf.add(decision.name, Path(decision.challenger), note=note, accept_verdict=accept_verdict)
    made = replace(decision, version=added.number)
    shelf.promote(made.name, added.number, reason=made.reason, detail=asdict(made), instead_of=made.live)
    return made


def _recipe_with(live: Version, file: str) -> list[str]:
    """The overrides that add a file to the data of a version's recipe."""
    result = read_document(live.folder / RESULT) or {}
    config = result["config"]
    given = config["values"]["data"]["path"]
    if given is None:
        raise InputError(
            "the rows were handed over in memory, so they cannot be read again",
            where=str(live.folder),
            allowed="a version that was tuned on files",
            hint="save the rows to a file, run that, and add the run",
        )
    paths = dict.fromkeys([*([given] if isinstance(given, str) else given), file])
    overrides = [f"data.path={json.dumps(list(paths), ensure_ascii=False)}"]
    if str(config["origins"].get("data.format", "")).startswith("automatic"):
        overrides.append("data.format=auto")  # the new file may be of another format
    return overrides


def _judge(found: Contest, verdict: str, accept_verdict: bool) -> tuple[bool, str]:
    """Whether the challenger wins, and why."""
    if found.comparison is None:
        return (
            False,
            "No evidence: the live version was tuned on all of the test rows, so there is nothing to compare on.",
        )
    outcome, sentence = judge_pair(found.comparison, JUDGED)
    failed = [check for check in found.checks if not check.passed]
    if outcome == "better" and failed:
        return False, f"What it generates fails {name_checks(failed)}, so it is not promoted, although: {sentence}"
    if outcome == "better" and verdict != "better" and not accept_verdict:
        return False, f"The challenger's own verdict is `{verdict}`, so it is not promoted, although: {sentence}"
    return outcome == "better", sentence
