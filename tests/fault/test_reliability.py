"""RELIABILITY.md is written by the campaigns: its table is the record, its totals are sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import reliability
from reliability import Line

ONE = Line(
    began="2026-11-22 08:00", campaign="toy, at random times", seed=1, blows=1000, ended=400, wrong=0, minutes=12.5,
    versions="tunewright 0.1.0, torch 2.13.0",
)  # fmt: skip


def test_lines_are_kept_and_add_up(tmp_path: Path) -> None:
    page = tmp_path / "RELIABILITY.md"
    lines = [ONE, replace(ONE, campaign="toy, failing disk", blows=7), replace(ONE, seed=2, blows=234, wrong=1)]
    for line in lines:
        reliability.add(line, page)
    assert reliability.read(page) == lines
    assert "| toy, at random times | 1,234 | 800 | 1 | 25.0 |\n| toy, failing disk | 7 |" in page.read_text("utf-8")


def test_a_seed_is_used_once_by_each_campaign(tmp_path: Path) -> None:
    page = tmp_path / "RELIABILITY.md"
    assert reliability.next_seed(ONE.campaign, page) == 1
    reliability.add(replace(ONE, seed=5), page)
    assert reliability.next_seed(ONE.campaign, page) == 6
    assert reliability.next_seed("another", page) == 1


def test_the_page_says_what_its_lines_say() -> None:
    """Nobody has written in it by hand, and what was done was done without harm, or is told."""
    assert reliability.PAGE.read_text("utf-8") == reliability.render(reliability.read())
