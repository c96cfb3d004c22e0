"""How long the command line takes to say anything: ``tunewright --help`` and ``--version``, ten cold processes each."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import _page

TARGET_SECONDS = 0.3


def seconds(*arguments: str) -> list[float]:
    """Wall time of ten processes, the first one left out: it fills the file cache."""
    taken = []
    for _ in range(11):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tunewright", *arguments], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return taken[1:]


def main() -> None:
    """Measure and write the table."""
    rows = []
    for arguments in (["--help"], ["--version"], ["run", "--help"]):
        taken = seconds(*arguments)
        shown = f"{statistics.median(taken):.2f} ({min(taken):.2f} to {max(taken):.2f})"
        rows.append((f"`tunewright {' '.join(arguments)}`", shown, f"{TARGET_SECONDS:.2f}"))
    _page.write("start-up", ("command", "seconds: median (min to max)", "target"), rows)


if __name__ == "__main__":
    main()
