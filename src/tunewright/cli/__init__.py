"""The command line: parse, call one function, render. Each command is imported when it is used."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from tunewright.cli.app import start

    raise SystemExit(start())
