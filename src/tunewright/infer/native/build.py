"""Compile ``kernels.c`` once for this machine, and open what was compiled.

The library lies in the cache under the digest of the source, the compiler and the processor's features, committed by the store.
Its threads are torch's own: the symbols of OpenMP are left open and found in the library that torch has loaded, so that no
second pool of threads fights the first.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from tunewright.errors import TunewrightError
from tunewright.store.artifact import Draft, commit_artifact, open_artifact
from tunewright.store.digest import digest_json, sha256_file
from tunewright.store.home import cache_folder

SOURCE = Path(__file__).parent / "kernels.c"
PARTS = tuple(sorted(SOURCE.parent.glob("*.[ch]")))
LIBRARY = "kernels.so"
SECONDS = 120
FLAGS = ("-O3", "-std=c11", "-ffp-contract=fast", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
"""No flag that lets the compiler change the order of a sum; a product may go into its sum unrounded."""


@dataclass(frozen=True, slots=True)
class Built:
    """The opened library, or None, and why."""

    library: ctypes.CDLL | None
    reason: str


@lru_cache(maxsize=1)
def built() -> Built:
    """The kernels for this machine, compiled if they are not yet; never raises."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return Built(None, "kernels are compiled on Linux, beside a torch that threads by OpenMP")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return Built(None, "no C compiler was found (cc, or what CC names)")
    try:
        return Built(ctypes.CDLL(str(_compiled(compiler) / LIBRARY)), f"compiled by {Path(compiler).resolve().name}")
    except (OSError, subprocess.SubprocessError, TunewrightError) as error:
        return Built(None, f"the C compiler did not succeed: {str(error).splitlines()[0][:120]}")


def _compiled(compiler: str) -> Path:
    """The folder of the compiled library."""
    flags = [*FLAGS, *_target_flags()]
    stands = Path(compiler).resolve()
    state = stands.stat()
    key = digest_json([*map(sha256_file, PARTS), str(stands), state.st_size, state.st_mtime_ns, flags, _features()])
    target = cache_folder() / "native" / key[:32]
    found = open_artifact(target, key)
    if found is None:
        found = commit_artifact(target, key, lambda draft: _compile(compiler, flags, draft))
    return found.folder


def _compile(compiler: str, flags: list[str], draft: Draft) -> None:
    """Source -> object -> library, without a shell; what is linked names no library for OpenMP."""
    target = draft.path(LIBRARY)
    part = target.with_name("kernels.o")
    _call([compiler, *flags, "-c", str(SOURCE), "-o", str(part)])
    _call([compiler, "-shared", str(part), "-lm", "-o", str(target)])


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL)


def _target_flags() -> list[str]:
    """For this processor; as without AVX-512 where torch is told to compute so."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["-mcpu=native"]
    if "avx512" in torch.backends.cpu.get_cpu_capability().lower():
        return ["-march=native", "-mprefer-vector-width=512"]
    return ["-march=native", "-mno-avx512f"]


def _features() -> str:
    """What the processor says that it can do."""
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        return ""
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
