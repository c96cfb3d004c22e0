"""The folder in which fetched and converted files are kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tunewright.errors import MachineError


def cache_folder() -> Path:
    r"""The cache folder of this user, absolute; it need not exist.

    ``$TUNEWRIGHT_HOME`` if set, else ``$XDG_CACHE_HOME/tunewright`` (if absolute, as the XDG rules say), else
    ``~/Library/Caches/tunewright`` (macOS), ``%LOCALAPPDATA%\tunewright\Cache`` (Windows), ``~/.cache/tunewright``.
    Raises MachineError when no home folder is known.
    """
    own = os.environ.get("TUNEWRIGHT_HOME")
    if own:
        return Path(os.path.abspath(Path(own).expanduser()))
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):
        return Path(shared) / "tunewright"
    local = os.environ.get("LOCALAPPDATA", "")
    if sys.platform == "win32" and os.path.isabs(local):
        return Path(local) / "tunewright" / "Cache"
    caches = {"darwin": Path("Library/Caches"), "win32": Path("AppData/Local")}.get(sys.platform, Path(".cache"))
    return _home() / caches / "tunewright"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise MachineError(
            "no home folder is known, so there is no place for the cache",
            where="cache folder",
            allowed="a folder in TUNEWRIGHT_HOME, XDG_CACHE_HOME or HOME",
            hint="export TUNEWRIGHT_HOME=/path/to/a/folder",
        ) from error
