"""The same verdict-first content for the terminal, as a small record; the command line gives it colour.

The strings hold no control characters, so that no row can move the cursor or change colours; they are not escaped for
any markup of a terminal library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tunewright.report.markup import clean
from tunewright.report.node import Node
from tunewright.report.wording import (
    LOWER_IS_BETTER,
    MINUS,
    decimal,
    metric_name,
    p_value,
    signed,
    significant,
    system_name,
    verdict_headline,
)
from tunewright.words import counted

Style = Literal["good", "bad", "unsure"]
STYLES: Mapping[str, Style] = {"better": "good", "worse": "bad", "no evidence": "unsure"}


@dataclass(frozen=True, slots=True)
class Line:
    """One system in the table: its score, the difference to the tuned model with interval and p, and how that looks."""

    system: str
    score: str
    difference: str = ""
    interval: str = ""
    p: str = ""
    required: bool = False
    style: Style = "unsure"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One check of what a text model generates: its name, the value with its limit, and whether it passed."""

    name: str
    value: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a person sees when a run ends, in this order. Empty strings and tuples stand for what the result lacks."""

    outcome: str
    style: Style
    headline: str
    sentence: str
    metric: str
    judged: str
    lines: tuple[Line, ...]
    checks: tuple[CheckLine, ...]
    scope: tuple[str, ...]
    cause: str
    evidence: tuple[str, ...]
    next_commands: tuple[str, ...]
    report: str


def summary(result: Mapping[str, object], report: str = "") -> Summary:
    """The summary of a ``result.json``; ``report`` is the path of the page. Never fails on absent parts."""
    node = Node(result)
    found, diagnosis = node["verdict"], node["diagnosis"]
    metric = found["metric"].text() or next((name for name, _ in node["metrics"].pairs()), "")
    outcome = found["outcome"].text()
    checks = tuple(map(_check, found["checks"].items()))
    rows = node["num_judged"].count()
    commands = [diagnosis["next_command"].text(), *(one.text() for one in node["next_commands"].items())]
    return Summary(
        outcome=_plain(outcome),
        style=STYLES.get(outcome, "unsure"),
        headline=verdict_headline(found),
        sentence=_without_outcome(_plain(found["sentence"].text()), outcome),
        metric=_plain(metric_name(metric)) if metric else "",
        judged=counted(rows, f"{_plain(node['judged_on'].text())} row".strip()) if rows else "",
        lines=_lines(node, metric),
        checks=checks,
        scope=tuple(_scope(node)),
        cause=_plain(diagnosis["cause"].text()),
        evidence=tuple(_plain(one.text()) for one in diagnosis["evidence"].items() if one),
        next_commands=tuple(dict.fromkeys(_plain(one) for one in commands if one)),
        report=_plain(report),
    )


def _without_outcome(sentence: str, outcome: str) -> str:
    """The sentence without its first words where they only repeat the headline above it."""
    head, _, rest = sentence.partition(": ")
    return rest[:1].upper() + rest[1:] if rest and head.lower() == outcome else sentence


def _lines(node: Node, metric: str) -> tuple[Line, ...]:
    tuned = node["metrics"][metric]
    value = tuned["value"].number()
    if value is None:
        value = node["systems"]["tuned"][metric].number()
    lines = (
        [Line(system_name("tuned"), decimal(value), interval=_between(tuned, signs=False), style="good")]
        if value is not None
        else []
    )
    compared = node["verdict"]["comparisons"].items()
    compared.sort(key=lambda one: (one["required"].value is not True, one["difference"].number() or 0.0))
    return (*lines, *map(_line, compared))


def _line(one: Node) -> Line:
    span, difference, level = one["interval"].span(), one["difference"].number(), one["opponent"].number()
    lower = one["metric"].text() in LOWER_IS_BETTER
    above: Style = "bad" if lower else "good"
    below: Style = "good" if lower else "bad"
    p = one["p_holm"].number() if one["p_holm"].number() is not None else one["p"].number()
    return Line(
        system=_plain(system_name(one["against"].text())),
        score=_ascii(decimal(level)) if level is not None else "",
        difference=_ascii(signed(difference)) if difference is not None else "",
        interval=_between(one, signs=True),
        p=p_value(p) if p is not None else "",
        required=one["required"].value is True,
        style=above if span and span[0] > 0 else below if span and span[1] < 0 else "unsure",
    )


def _scope(node: Node) -> Iterator[str]:
    """What becomes of rows in scope and out of scope, where a label stands for the latter."""
    right, refused, caught = (
        node["metrics"][name]["value"].number()
        for name in ("in_scope_accuracy", "in_scope_refused", "out_of_scope_recall")
    )
    if right is not None and refused is not None:
        yield f"In scope: {100 * right:.1f} % answered rightly, {100 * refused:.1f} % refused."
    if caught is not None:
        yield f"Out of scope: {100 * caught:.1f} % refused."


def _check(one: Node) -> CheckLine:
    value, limit = one["value"].number(), one["limit"].text()
    shown = "unknown" if value is None else f"{100 * value:.1f} %" if "%" in limit else _ascii(significant(value))
    return CheckLine(
        _plain(metric_name(one["name"].text())), _plain(f"{shown}, needed {limit}"), one["passed"].value is True
    )


def _between(node: Node, *, signs: bool) -> str:
    span = node["interval"].span()
    write = signed if signs else decimal
    return _ascii(f"{write(span[0])} to {write(span[1])}") if span else ""


def _ascii(text: str) -> str:
    return text.replace(MINUS, "-")


def _plain(text: str) -> str:
    return " ".join(clean(text).split())
