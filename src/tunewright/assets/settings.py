"""Where packages come from: pip's own settings, so that a mirror or certificate set for pip serves here too."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SECTIONS = ("global", "install", "download")
"""Later ones win, as in pip; ``install`` counts because many people write their mirror there. ``PIP_*`` beats them all."""

_ALIASES = {"default-timeout": "timeout", "pypi-url": "index-url"}
_ASK_SECONDS = 60
_FALSE = ("", "0", "false", "no", "off", "n", "f")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """What pip was told. ``index_url`` None means its default; with ``no_index`` only ``find_links`` is looked at."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    timeout_seconds: float = 15.0


def read_settings(environment: Mapping[str, str] | None = None, ask: Callable[[], str] | None = None) -> IndexSettings:
    """The settings in force: pip's configuration files, then ``PIP_*``. Where there is no pip, ``PIP_*`` alone.

    ``ask`` gives the output of ``pip config list``; by default pip is asked.
    """
    variables = os.environ if environment is None else environment
    values = _in_files((ask or ask_pip)()) | _in_variables(variables)
    return IndexSettings(
        index_url=values.get("index-url"),
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        no_index=values.get("no-index", "").lower() not in _FALSE,
        cert=values.get("cert") or variables.get("REQUESTS_CA_BUNDLE") or variables.get("CURL_CA_BUNDLE"),
        client_cert=values.get("client-cert"),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        proxy=values.get("proxy"),
        timeout_seconds=_seconds(values.get("timeout", "")),
    )


def ask_pip() -> str:
    """The output of ``pip config list``, or nothing where pip is missing or does not answer within a minute.

    ``-P`` keeps a file called pip.py in the current folder from being run instead.
    """
    command = [sys.executable, "-P", "-m", "pip", "config", "list"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_SECONDS, check=False, encoding="utf-8"
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return ""
    return asked.stdout if asked.returncode == 0 else ""


def _in_files(listing: str) -> dict[str, str]:
    """``global.index-url='https://...'`` lines, one setting each, the value as a Python string."""
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for line in listing.splitlines():
        key, _, quoted = line.partition("=")
        section, _, name = key.strip().partition(".")
        try:
            value = ast.literal_eval(quoted.strip())
        except (ValueError, SyntaxError):
            continue
        if section in sections and isinstance(value, str) and value:
            sections[section][_ALIASES.get(name, name)] = value
    return {name: value for section in _SECTIONS for name, value in sections[section].items()}


def _in_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """``PIP_INDEX_URL`` is ``index-url``; empty ones are ignored, as pip does."""
    found = {key[4:].lower().replace("_", "-"): value for key, value in variables.items() if key.startswith("PIP_")}
    return {_ALIASES.get(name, name): value for name, value in found.items() if value}


def _seconds(value: str) -> float:
    try:
        return min(max(1.0, float(value)), 600.0)
    except ValueError:
        return IndexSettings().timeout_seconds
