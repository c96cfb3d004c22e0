"""Fine-tune a language model and know that it worked.

import tunewright
result = tunewright.run("reviews.csv")            # or a recipe, a list of dicts, a DataFrame, an Arrow table
result["verdict"]["outcome"]                      # "better", "worse" or "no evidence"
tunewright.predict(result["run"], ["a gripping film"])
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunewright.answering import predict, predict_file
    from tunewright.doctor import examine
    from tunewright.pipeline import run
    from tunewright.replaying import replay
    from tunewright.tuning import tune

os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # before torch loads: threads that wait for long give their core away

__all__ = ["examine", "predict", "predict_file", "replay", "run", "tune"]

_HOMES = {
    "examine": "doctor",
    "predict": "answering",
    "predict_file": "answering",
    "replay": "replaying",
    "run": "pipeline",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    """Import a public function when it is first used; the libraries behind it take ten seconds to load."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"tunewright.{_HOMES[name]}"), name)


class _Package(ModuleType):
    """Keeps ``tunewright.tune`` the public function: importing the folder of that name would put the module there."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
