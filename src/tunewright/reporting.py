"""Write the page of a run again from its ``result.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tunewright.report.config import Report
from tunewright.report.render import render
from tunewright.store.run import RESULT, RunFolder, unfinished


def rewrite(folder: Path, rows: Literal["none", "ids", "text"] | None = None) -> dict[str, Any]:
    """Render ``report.html`` anew; ``rows`` hides what the run's own setting shows. Returns the result."""
    run = RunFolder.open(folder)
    result = run.read_json(RESULT)
    if result is None:
        raise unfinished(run)
    if rows is not None:
        recorded = Report.recorded(result).config
        result["errors"] = Report(recorded.model_copy(update={"rows": rows})).select_errors(result.get("errors", []))
        result["config"]["values"]["report"]["rows"] = rows
    result["report"] = str(run.document("report.html"))
    run.write_document("report.html", render(result))
    return result
