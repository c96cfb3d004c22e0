"""Put a program's table into docs/benchmarks.md, between its own two markers, with the machine and the versions."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PACKAGES = ("tunewright", "torch", "transformers", "tokenizers", "pyarrow")


def machine() -> str:
    """The processor, its cores, and the versions that the figures belong to."""
    import torch

    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{_cpu()}, {torch.get_num_threads()} threads, {capability}; Python {platform.python_version()}, {versions}"


def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Replace the section ``name`` of the page by a table of ``rows``; print it, too."""
    today = datetime.now(UTC).date().isoformat()
    table = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    table += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    body = "\n".join([*table, "", f"{today}. {machine()}.", *([note] if note else [])])
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = PAGE.read_text(encoding="utf-8")
    section = f"{begin}\n\n{body}\n\n{end}"
    if begin not in text:
        raise SystemExit(f"docs/benchmarks.md has no section {begin} ... {end}")
    PAGE.write_text(
        re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: section, text, flags=re.DOTALL), encoding="utf-8"
    )
    print("\n".join(table))


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
