"""Profiles, facts and findings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.data.facts import ScriptCount, build_facts
from tunewright.data.prepare import Prepare, prepare
from tunewright.data.profile import FIRST_ROWS, SPREAD_ROWS, Sample, as_list, column_value, profile_column

Write = Callable[[str, str | bytes], str]


def test_a_profile_counts_what_is_there() -> None:
    made = profile_column("n", 3, ["1", " 2 ", None, "", float("nan"), "10", "2.0"])
    assert (made.num_values, made.num_distinct, made.position) == (4, 4, 3)
    assert made.fraction_empty == pytest.approx(3 / 7)
    assert (made.fraction_integer, made.fraction_numeric, made.is_sequential) == (1.0, 1.0, False)
    words = profile_column("t", 0, ["two words", "很好的书", "two words"])
    assert words.mean_words == pytest.approx((2 + 4 + 2) / 3)
    assert words.counts == {"two words": 2, "很好的书": 1}
    assert profile_column("id", 0, [1, 2, 5]).is_sequential


def test_a_sample_is_bounded_and_reaches_the_end() -> None:
    sample = Sample()
    for row in range(100_000):
        sample.add({"n": row, "half": "a" if row < 50_000 else "b"})
    number, half = sample.profiles()
    assert FIRST_ROWS < number.num_values <= FIRST_ROWS + SPREAD_ROWS
    assert half.num_distinct == 2
    assert half.counts["b"] > 1000


def test_nested_and_written_values_are_found() -> None:
    assert column_value({"a": {"b": 3}}, "a.b") == 3
    assert column_value({"a.b": 1, "a": {"b": 3}}, "a.b") == 1
    assert column_value({"a": float("nan")}, "a") is None
    assert as_list("['a', 'b']") == as_list('["a", "b"]') == ["a", "b"]
    assert as_list("[not a list") is None
    assert as_list("plain") is None


def test_scripts_are_shares_of_letters() -> None:
    count = ScriptCount()
    count.add(["ab 12", "中文", "кино", "שלום", "かな", "한국", "عربي"])
    shares = count.shares()
    assert sum(shares.values()) == pytest.approx(1, abs=0.001)
    letters = {"Latin": 2, "Han": 2, "Cyrillic": 4, "other": 4, "Kana": 2, "Hangul": 2, "Arabic": 4}
    assert shares == {name: pytest.approx(num / 20) for name, num in letters.items()}


def test_facts_of_nothing_are_defined() -> None:
    facts = build_facts([], ScriptCount())
    assert (facts.num_rows, facts.mean_characters, facts.p99_characters, facts.scripts) == (0, 0.0, 0, {})
    assert build_facts(list(range(1, 101)), ScriptCount()).p99_characters == 100


def test_texts_that_were_cut_off_are_suspected(task: Any, write: Write, tmp_path: Path) -> None:
    long = [f"{n} 号" + "这句话里有很多很多的字一直写下去" * 20 for n in range(60)]
    body = "".join(f"{text[: 200 if n % 2 else 90 + 9 * n // 5]},{n % 3 > 0}\n" for n, text in enumerate(long))
    made = prepare(Prepare.Config(path=write("a.csv", "text,label\n" + body)), task, tmp_path / "out")
    (found,) = [finding for finding in made.findings if finding.code == "cut_texts"]
    assert "exactly 200 characters" in found.message
    assert len(found.origins) == 5


def test_texts_of_every_length_are_not_suspected(task: Any, write: Write, tmp_path: Path) -> None:
    body = "".join(f"{n} {'many words follow ' * 9}{'x' * n},{n % 3 > 0}\n" for n in range(60))
    made = prepare(Prepare.Config(path=write("a.csv", "text,label\n" + body)), task, tmp_path / "out")
    assert "cut_texts" not in {finding.code for finding in made.findings}
    assert {"near_duplicates", "near_leak"} <= {finding.code for finding in made.findings}
