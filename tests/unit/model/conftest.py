"""The web server and the empty cache of the tests of assets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).parent.parent / "assets" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("assets_conftest", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["assets_conftest"] = _MODULE
_SPEC.loader.exec_module(_MODULE)

server = _MODULE.server
cache = _MODULE.cache
outside = _MODULE.outside
