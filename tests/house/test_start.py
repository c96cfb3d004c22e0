"""What is loaded when: `tunewright --help` is quick because it loads little, and every module stands on its own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from sources import modules

if TYPE_CHECKING:
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


def test_every_module_imports_on_its_own(run_process: RunProcess) -> None:
    """Each is imported into a state where no other module of the package is loaded, so that no cycle hides."""
    code = (
        "import importlib, sys, traceback\n"
        f"for name in {[name for name in modules() if not name.endswith('__main__')]!r}:\n"
        "    for loaded in [loaded for loaded in sys.modules if loaded.partition('.')[0] == 'tunewright']:\n"
        "        del sys.modules[loaded]\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: print(name, traceback.format_exc())\n"
    )
    done = run_process(sys.executable, "-W", "ignore", "-c", code)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
