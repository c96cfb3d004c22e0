"""How much memory is free and in use, read from made-up systems and from this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tunewright.train import memory

MIB = 2**20


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up Linux with 1000 MiB available and no control group."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    write(tmp_path / "proc" / "meminfo", "MemTotal: 9999999 kB", f"MemAvailable: {1000 * 1024} kB")
    write(tmp_path / "proc" / "self" / "status", "Name: python", "VmHWM: 2048 kB")
    write(tmp_path / "proc" / "self" / "statm", "500 300 100 1 0 200 0")
    return tmp_path


def write(path: Path, *lines: str | int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def test_without_a_limit_what_the_kernel_calls_available_is_free(system: Path) -> None:
    assert memory.free_bytes() == 1000 * MIB
    assert memory.peak_bytes() == 2 * MIB
    assert memory.used_bytes() == 300 * os.sysconf("SC_PAGE_SIZE")


def test_the_limit_of_a_group_holds_and_cached_files_do_not_count(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "0::/outer/inner")
    inner = system / "cgroup" / "outer" / "inner"
    write(inner / "memory.max", "max")
    write(inner / "memory.current", 90 * MIB)
    write(inner.parent / "memory.max", 500 * MIB)
    write(inner.parent / "memory.current", 300 * MIB)
    write(inner.parent / "memory.stat", "anon 5", f"inactive_file {100 * MIB}")
    assert memory.free_bytes() == 300 * MIB


def test_so_does_that_of_the_older_groups_seen_from_within_a_container(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "5:cpu:/docker/abc", "4:memory:/docker/abc")
    root = system / "cgroup" / "memory"
    write(root / "memory.limit_in_bytes", 256 * MIB)
    write(root / "memory.usage_in_bytes", 200 * MIB)
    write(root / "memory.stat", f"total_inactive_file {10 * MIB}")
    assert memory.free_bytes() == 66 * MIB
    write(root / "memory.usage_in_bytes", 300 * MIB)
    assert memory.free_bytes() == 0


def test_a_system_that_does_not_say_gives_none(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("meminfo", "self/status", "self/statm"):
        (system / "proc" / name).unlink()
    assert memory.used_bytes() is None
    monkeypatch.delattr(os, "sysconf")
    assert memory.free_bytes() is None
    with memory.Peak("cpu") as peak:
        pass
    assert peak.bytes is None or peak.bytes > 0


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="this system has no /proc")
def test_the_peak_of_a_block_is_seen_after_it_has_gone() -> None:
    before = memory.used_bytes()
    assert before is not None
    with memory.Peak("cpu") as peak:
        block = torch.ones(512 * MIB // 4)  # beside which it does not count what else this process lets go meanwhile
        assert float(block[-1]) == 1.0
        del block
    assert peak.bytes is not None
    assert 450 * MIB <= peak.bytes - before <= 600 * MIB
    assert (memory.peak_bytes() or 0) >= peak.bytes
