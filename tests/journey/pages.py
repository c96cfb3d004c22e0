"""Pages of the documentation as programs: their fenced blocks, and a command line that runs them where the test stands."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

REPOSITORY = Path(__file__).resolve().parents[2]

SMALL = {
    "TUNEWRIGHT_TRAIN__EPOCHS": "1",
    "TUNEWRIGHT_EVALUATE__OUT_OF_FOLD": "false",
    "TUNEWRIGHT_EVALUATE__RESAMPLES": "200",
}
"""Options under which a command of the pages takes seconds; what a page writes on the command line still wins."""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=.*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page on which it begins."""

    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block without their comments."""
        lines = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in _FENCE.finditer(text)]


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    command: str
    code: int
    out: str
    err: str


def run_command(command: str, environment: Mapping[str, str] = {}) -> Done:
    """Run one `tunewright` line of a page in this process; `NAME=value` before it and `> FILE` after it are obeyed."""
    words = shlex.split(command)
    target = words[-1] if ">" in words else None
    words = words[: words.index(">")] if target else words
    named = dict(word.split("=", 1) for word in words if _ASSIGNMENT.fullmatch(word) and words[0] != "tunewright")
    words = words[len(named) :]
    assert words[0] == "tunewright", command
    done = run_words(words[1:], {**environment, **named})
    if target:
        Path(target).write_text(done.out, encoding="utf-8")
    return Done(command, done.code, done.out, done.err)


def run_words(words: Sequence[str], environment: Mapping[str, str] = {}) -> Done:
    """The command line with these arguments, as the console script runs it."""
    from tunewright.cli.app import start

    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment),
        patch("sys.argv", ["tunewright", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = start()
    return Done(shlex.join(["tunewright", *words]), code, out.getvalue(), err.getvalue())


def take_rows(source: Path, target: Path, count: int, *, offset: int = 0) -> Path:
    """``count`` rows of a CSV of reviews with their text and label, spread evenly over the file."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stride = len(rows) // count
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[offset::stride][:count])
    return target


def relative_links(page: Path) -> Iterator[str]:
    """The targets of a page's links that lie in the repository, without their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]
