"""What this machine can do, and what would stop a run: facts and findings, nothing is changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.data.inputs import look
from tunewright.errors import TunewrightError, shorten
from tunewright.recipe import read_request
from tunewright.result import environment_part
from tunewright.store.home import cache_folder
from tunewright.train.probe import choose_device, gemm_rate

WIDTH = 384
LEAST_DISK_BYTES = 2_000_000_000


def examine(recipe: str | Path | None = None) -> dict[str, Any]:
    """``machine`` (facts), ``checks`` (each with ``name``, ``ok``, ``detail``, ``hint``) and ``ok`` over all of them."""
    import torch

    environment = environment_part()["environment"]
    fp32, bf16 = gemm_rate(WIDTH, torch.float32), gemm_rate(WIDTH, torch.bfloat16)
    machine = {
        **environment,
        "device": choose_device("auto").value,
        "memory_bytes": memory_bytes(),
        "gemm_gflops_fp32": round(fp32, 1),
        "gemm_gflops_bf16": round(bf16, 1),
        "cache": str(cache_folder()),
    }
    checks = [_disk(Path.cwd(), "disk for runs"), _disk(cache_folder(), "disk for models and data")]
    if recipe is not None:
        checks.append(_recipe(recipe))
    return {"machine": machine, "checks": checks, "ok": all(bool(check["ok"]) for check in checks)}


def memory_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _disk(folder: Path, name: str) -> Mapping[str, object]:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    detail = f"{free / 1e9:.1f} GB free at {folder}" + ("" if writable else ", not writable")
    return {
        "name": name,
        "ok": free >= LEAST_DISK_BYTES and writable,
        "detail": detail,
        "hint": ""
        if free >= LEAST_DISK_BYTES and writable
        else "free some space, or set TUNEWRIGHT_HOME or --out elsewhere",
    }


def _recipe(recipe: str | Path) -> Mapping[str, object]:
    try:
        request = read_request(str(recipe), (), {})
        profiles = look(request.recipe.data).profiles
    except TunewrightError as error:
        detail = f"{error.where}: {error.problem}: {shorten(error.given)}"
        return {"name": "recipe", "ok": False, "detail": detail, "hint": error.hint}
    columns = ", ".join(profile.name for profile in profiles)
    return {"name": "recipe", "ok": True, "detail": f"valid; the data has the columns {columns}", "hint": ""}
