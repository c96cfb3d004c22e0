"""Lives that count to four in a file: one does it right, each other does one thing wrong, which its campaigns must find.

    python kill_campaign_of_cheats.py FOLDER

Prints one JSON object: what each campaign found wrong, by life.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from kill_campaign import Campaign, Life
from tunewright.errors import MachineError
from tunewright.store.disk import disk
from tunewright.store.durable import remove_orphans, replace_document, reported

LAST = 4


def keep(path: Path, number: int) -> None:
    """The old number or the new one stands, whatever happens."""
    replace_document(path, str(number).encode())


def keep_in_place(path: Path, number: int) -> None:
    """For a moment no number stands."""
    with reported(path):
        if path.exists():
            disk().unlink(path)
        disk().write_new(path, str(number).encode())


def keep_twice(path: Path, number: int) -> None:
    """What is noted beside the number is noted again after a kill."""
    with path.with_name("notes").open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    keep(path, number)


def keep_and_say_little(path: Path, number: int) -> None:
    """An error without a hint."""
    try:
        keep(path, number)
    except MachineError as error:
        raise MachineError("it failed") from error


def keep_or_not(path: Path, number: int) -> None:
    """The first failure of the disk is taken for the end of the work."""
    try:
        keep(path, number)
    except MachineError:
        path.with_name("notes").write_text("given up", encoding="utf-8")


def counting(keeping: Callable[[Path, int], None]) -> Life:
    """Counts from the number that stands to the last."""

    def go(out: Path) -> None:
        out.mkdir(exist_ok=True)
        remove_orphans(out)
        for number in range(progress(out) + 1, LAST + 1):
            keeping(out / "number", number)

    return Life(name=keeping.__name__, go=go, outcome=outcome, progress=progress)


def progress(out: Path) -> int:
    """The number that stands."""
    return int((out / "number").read_text("utf-8")) if (out / "number").exists() else 0


def outcome(out: Path) -> Mapping[str, object]:
    """The number and the notes."""
    return {path.name: path.read_text("utf-8") for path in sorted(out.iterdir())}


def main(place: str) -> dict[str, dict[str, list[str]]]:
    """Each campaign over each life."""
    found: dict[str, dict[str, list[str]]] = {}
    for keeping in (keep, keep_in_place, keep_twice, keep_and_say_little, keep_or_not):
        folder = Path(place) / keeping.__name__
        campaigns = {kind: Campaign([counting(keeping)], folder / kind, 0) for kind in ("operations", "disk")}
        for campaign in campaigns.values():
            campaign.folder.mkdir(parents=True)
        killed, failed = campaigns["operations"].at_operations(), campaigns["disk"].on_a_failing_disk()
        assert min(killed.kills, failed.kills) > LAST
        found[keeping.__name__] = {"operations": killed.wrong, "disk": failed.wrong}
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
