"""A CSV of 1,000,000 rows is prepared: seconds and peak memory of the whole process, measured by the system."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _page

NUM_ROWS = 1_000_000
LIMIT_BYTES = 2_000_000_000
WORDS = (
    "the a film plot actor scene music story camera light dull bright slow quick warm cold first last new old".split()
)


def make_file(path: Path) -> None:
    """Distinct sentences of 5 to 40 words with one of four labels, from a fixed seed."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(NUM_ROWS):
            writer.writerow(
                [f"{' '.join(draw.choices(WORDS, k=draw.randint(5, 40)))} {number}", f"class-{draw.randint(0, 3)}"]
            )


PROGRAM = """
import json, resource, sys
from pathlib import Path
from tunewright.adapt.task.classify import Classify
from tunewright.data.prepare import Prepare, prepare
found = prepare(Prepare.Config(path=sys.argv[1]), Classify(Classify.Config(separator="")), Path(sys.argv[2]))
print(json.dumps({"splits": found.splits, "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def main() -> None:
    """Measure in a process of its own and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.csv"
        make_file(source)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(source), str(Path(folder) / "data")],
            check=True,
            capture_output=True,
            text=True,
        )
        taken = time.perf_counter() - started
        found = json.loads(done.stdout.splitlines()[-1])
        peak = found["kilobytes"] * 1024
        rows = [
            (
                f"{NUM_ROWS:,}",
                f"{source.stat().st_size / 1e6:.0f} MB",
                f"{taken:.0f}",
                f"{peak / 1e9:.2f} GB",
                f"{LIMIT_BYTES / 1e9:.0f} GB",
            )
        ]
    _page.write(
        "million-rows",
        ("rows", "file", "seconds", "peak memory", "limit"),
        rows,
        note="Seconds include the start of the process.",
    )
    if peak > LIMIT_BYTES:
        raise SystemExit("more memory than the limit")


if __name__ == "__main__":
    main()
