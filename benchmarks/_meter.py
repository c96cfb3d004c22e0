"""What one measured process says of itself: when each update ended, its loss, what it read, and the most memory it held.

Runs in both environments, so it needs nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

STARTED = "ENGINE_BENCHMARK_STARTED"
"""The variable that holds when the process was started, in seconds since the epoch: imports are part of the time."""

SECONDS = 240.0
"""An update after this is the last one, so that every measurement ends within ten minutes and says how far it came."""


class Meter:
    """Collects what is told after each update."""

    def __init__(self) -> None:
        self.started = float(os.environ[STARTED])
        self.loads = os.getloadavg()
        self.ends: list[float] = []
        self.losses: list[float] = []

    def update_ended(self) -> None:
        """An update is done, its weights written."""
        self.ends.append(time.time() - self.started)

    @property
    def is_late(self) -> bool:
        """Whether to stop here."""
        return bool(self.ends) and self.ends[-1] > SECONDS

    def tell(self, **facts: Any) -> None:
        """Print everything as the last line of the process."""
        found = {
            "ends": self.ends,
            "losses": self.losses,
            "peak_bytes": peak_bytes(),
            "load_before": self.loads[0],
            **facts,
        }
        print(json.dumps(found), flush=True)


def peak_bytes() -> int:
    """The most memory that this process held. Linux counts what was held before ``exec`` into ``ru_maxrss``, not here."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def orders_given() -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the setting, from the command line: a file and a JSON object."""
    inputs: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    setting: dict[str, Any] = json.loads(sys.argv[2])
    return inputs, setting
