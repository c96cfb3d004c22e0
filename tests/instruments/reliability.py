"""RELIABILITY.md: what is promised, and the table of all that was done to break it. The table is the record: a run of a
campaign adds a line, and the totals are sums of the lines. Nobody writes a number in it by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tunewright.store.durable import replace_document

PAGE = Path(__file__).resolve().parents[2] / "RELIABILITY.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run of one campaign: ``blows`` are kills, or failures of the disk; ``wrong`` counts what did not end alike."""

    began: str
    campaign: str
    seed: int
    blows: int
    ended: int
    wrong: int
    minutes: float
    versions: str


TITLES = ("began (UTC)", "campaign", "seed", "kills or failures", "carried to the end", "wrong", "minutes", "versions")

TEXT = """\
# Reliability

Killed at any moment, a run goes on by the same command, and ends with the same bits.

**Promised.** After a SIGKILL at any moment, a power cut, a full, failing or read-only disk: no commit that was acknowledged is
lost or damaged; nothing half-written is ever read; the same command, typed again, goes on by itself from the newest commit; and
the end is that of a run that was never disturbed, bit for bit: weights, moments of the optimiser, every step, every evaluation,
the metrics and the verdict. A disk that fails stops the run with an error that says where, what, what is needed and what to type
next. The same bits need the same CPU features, threads and versions of the libraries.

**Done.** A parent process imports the libraries once and forks a child for each trial, which is a run of the real pipeline, from
the file of rows to the report. What is compared: the SHA-256 of every file of every stage, the kept commits with weights,
moments and position, every event, all of `result.json` but times and places. After each kill the newest commit must verify and
be no older than before.

- *at random times*: SIGKILL after a time drawn from the seed; the run is started again and killed again, until it ends by itself.
- *at file operations*: SIGKILL before the N-th operation of the store, for every N; what goes on is killed once more.
- *failing disk*: the N-th operation fails (ENOSPC, EIO once; ENOSPC, EIO, EROFS from there on; a limit on the length of files,
  which other libraries meet, too), for every N; then the disk is mended and the same command is given.
- The *toy* is a BERT of random weights in three ways: all parameters in fp32, in bf16 with early stopping, an adapter. The
  *search* is a stub with two pruners, whose table of trials must come out the same.

A line below tells no more than its counts: `--every 29` takes one operation in 29, and `--minutes` or Ctrl-C cuts a
campaign short.

Power cuts are not timed but enumerated: `tests/fault/test_store_crashes.py` makes every state that the drive may be left in.

**To repeat.** `make soak` runs all, and adds a line for each campaign below; each takes the first seed that it has not used.
`make soak SOAK="--campaign toy-random --kills 3000 --minutes 60"` runs one of them, longer.

**Found, and mended.** A run that was killed between its trained model and its report ended without the choices of its method
(`method.targets`) in `result.json` and `recipe.yaml`; they are kept with the model now.

## So far

With no failure in n trials, the rate of failures is below 3/n with 95 % confidence.

"""


def read(page: Path = PAGE) -> list[Line]:
    """The lines of the page, the oldest first; none if there is no page."""
    text = page.read_text("utf-8") if page.exists() else ""
    kinds = [field.type for field in fields(Line)]
    found = []
    for row in text.partition("## Each run")[2].splitlines():
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if len(cells) == len(TITLES) and cells[2].isdigit():
            values = [
                {"int": int, "float": float}.get(str(kind), str)(cell) for kind, cell in zip(kinds, cells, strict=True)
            ]
            found.append(Line(**dict(zip(Line.__slots__, values, strict=True))))
    return found


def add(line: Line, page: Path = PAGE) -> None:
    """Write the page anew with one line more."""
    replace_document(page, render([*read(page), line]).encode())
    page.chmod(0o644)


def next_seed(campaign: str, page: Path = PAGE) -> int:
    """The first seed that this campaign has not used."""
    return 1 + max((line.seed for line in read(page) if line.campaign == campaign), default=0)


def render(lines: Sequence[Line]) -> str:
    """The page: text, totals, lines."""
    totals = []
    for campaign in dict.fromkeys(line.campaign for line in lines):
        own = [line for line in lines if line.campaign == campaign]
        blows, ended, wrong = (sum(getattr(line, name) for line in own) for name in ("blows", "ended", "wrong"))
        minutes = sum(line.minutes for line in own)
        totals.append((campaign, f"{blows:,}", f"{ended:,}", f"{wrong:,}", f"{minutes:.1f}"))
    each = [tuple(str(getattr(line, name)) for name in Line.__slots__) for line in lines]
    own_titles = ("campaign", *TITLES[3:7])
    return f"{TEXT}{_table(own_titles, totals)}\n## Each run\n\n{_table(TITLES, each)}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
