"""SHA-256 of files, of JSON values and of source code: the keys under which results are kept."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from tunewright.store.document import render_line


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits, read in chunks. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: object) -> str:
    """The SHA-256 of ``value`` as JSON: equal values give equal digests, whatever the order of their keys.

    Mappings, dataclasses, tuples, paths and enums are taken as their plain form. Raises ValueError for NaN and
    infinities, TypeError for what has no JSON form.
    """
    return hashlib.sha256(render_line(value)).hexdigest()


SOURCES = frozenset({".py", ".c", ".h"})
"""What code is written in."""


def digest_code(*modules: str) -> str:
    """The SHA-256 of the source files of ``modules``; a package stands for every source file in it, of Python or C.

    Raises ModuleNotFoundError when a module does not exist or has no source.
    """
    total = hashlib.sha256()
    for module in modules:
        for name, path in _sources(module):
            total.update(f"{name} {sha256_file(path)}\n".encode())
    return total.hexdigest()


def _sources(module: str) -> list[tuple[str, Path]]:
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations)))
        found = (path for path in folder.rglob("*") if path.suffix in SOURCES)
        paths = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
        return [(f"{module}/{path.relative_to(folder).as_posix()}", path) for path in paths]
    if spec is None or not spec.has_location or spec.origin is None:
        raise ModuleNotFoundError(f"no source file for the module {module}", name=module)
    return [(module, Path(spec.origin))]
