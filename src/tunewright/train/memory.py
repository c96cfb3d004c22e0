"""How much memory there is and how much is in use, on the device that trains; None where the system does not say.

Linux tells through /proc and the control groups (versions 1 and 2), whose limit holds in containers; a GPU tells through torch.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import torch

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.002
"""Between two looks at the resident size: activations stay for longer than that wherever they are large."""


def used_bytes(device: str = "cpu") -> int | None:
    """What this process holds now: resident, or allocated on the GPU."""
    if device == "cuda":
        return int(torch.cuda.memory_allocated())
    words = _read(PROC / "self" / "statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else None


def peak_bytes(device: str = "cpu") -> int | None:
    """The most that this process has held so far."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    if (known := _line(PROC / "self" / "status", "VmHWM:")) is not None:
        return known
    try:
        import resource
    except ImportError:  # Windows has no such module
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(device: str = "cpu") -> int | None:
    """What this process could take in addition without swapping, or without reaching the limit of its control group."""
    if device == "cuda":
        held_back = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + int(held_back)
    available = _line(PROC / "meminfo", "MemAvailable:")
    if available is None:
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") - (peak_bytes() or 0)
        except (AttributeError, OSError, ValueError):  # Windows, or a name that this system does not know
            return None
    return max(0, min([available, *_left_in_groups()]))


class Peak:
    """The most memory in use while a ``with`` block runs, in ``bytes``: sampled from a thread, or as the GPU counts it."""

    def __init__(self, device: str) -> None:
        """Watch ``device``."""
        self.device = device
        self.bytes: int | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._before = peak_bytes(self.device)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the peak; the kernel's own mark is exact where the block has raised it."""
        self._ended.set()
        if self.device != "cuda":
            self._thread.join()
        after = peak_bytes(self.device)
        if after is not None and (self.device == "cuda" or self.bytes is None or after != self._before):
            self.bytes = after

    def _sample(self) -> None:
        while (used := used_bytes()) is not None:
            self.bytes = max(used, self.bytes or 0)
            if self._ended.wait(SAMPLE_SECONDS):
                return


def _left_in_groups() -> Iterator[int]:
    """What each control group above this process leaves; pages of files that can be dropped count as free."""
    for line in _read(PROC / "self" / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root, limit, usage, cache = CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, cache = CGROUPS / "memory", "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inside = PurePosixPath(name.lstrip("/"))
        for folder in dict.fromkeys((root / inside, *(root / parent for parent in inside.parents))):
            most, used = _read(folder / limit).strip(), _read(folder / usage).strip()
            if most.isdigit() and used.isdigit():
                yield int(most) - int(used) + (_line(folder / "memory.stat", cache) or 0)


def _line(path: Path, name: str) -> int | None:
    """The number beside a name, in bytes; /proc writes kB behind it."""
    for line in _read(path).splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1]) * (1024 if words[-1] == "kB" else 1)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
