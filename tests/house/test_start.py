"""What is loaded when: `tunewright --help` is quick because it loads little, and every module stands on its own."""

from __future__ import annotations

import ast
import json
import sys
from typing import TYPE_CHECKING

from sources import imported, module_name, modules, python_files, without_type_checking

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import RunProcess

HEAVY = [
    "httpx2", "huggingface_hub", "matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "ruamel.yaml", "safetensors",
    "scipy", "sklearn", "sqlalchemy", "tokenizers", "torch", "transformers", "unearth",
]  # fmt: skip


def test_help_loads_nothing_heavy(run_process: RunProcess) -> None:
    code = (
        "import json, sys; from tunewright.cli import main\n"
        "sys.argv = ['tunewright', '--help']\n"
        "try: main()\n"
        "except SystemExit as stop: code = stop.code\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]), file=sys.stderr)"
    )
    done = run_process(sys.executable, "-c", code)
    assert "run" in done.stdout
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]


def test_no_circle_of_imports_hides() -> None:
    """Whichever module is imported first, what it needs at once can be loaded: imports at module level form no circle."""
    names = set(modules())
    needs = {module_name(path): sorted(_needed_at_once(path, names)) for path in python_files("src/tunewright")}
    done: set[str] = set()

    def walk(name: str, road: tuple[str, ...]) -> None:
        assert name not in road, " -> ".join([*road[road.index(name) :], name])
        if name not in done:
            for other in needs[name]:
                walk(other, (*road, name))
            done.add(name)

    for name in names:
        walk(name, ())


def _needed_at_once(path: Path, names: set[str]) -> set[str]:
    """The modules of the package that a file imports when it is imported itself; a package that holds it is no circle."""
    own = module_name(path)
    found = set()
    for node in without_type_checking(path).body:
        for _, full, _ in imported(node) if isinstance(node, ast.Import | ast.ImportFrom) else ():
            parts = full.split(".")
            candidates = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
            module = next((name for name in candidates if name in names), None)
            if module is not None and not own.startswith(f"{module}."):
                found.add(module)
    return found - {own}


def test_every_module_imports(run_process: RunProcess) -> None:
    code = (
        "import importlib, traceback\n"
        f"for name in {[name for name in modules() if not name.endswith('__main__')]!r}:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: print(name, traceback.format_exc())\n"
    )
    done = run_process(sys.executable, "-W", "ignore", "-c", code)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
