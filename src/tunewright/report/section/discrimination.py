"""How well the scores separate and how far they can be trusted: ROC, precision and recall, calibration, confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunewright.report.blocks import section
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.svg import Axis, Point, axis, bar, curves, dot, figure, key, plot, rule_y, unit_axis
from tunewright.report.wording import decimal, percent, whole
from tunewright.words import counted

# Up to this many curves are told apart by stroke and colour; the others stay grey.
NUM_NAMED = 3
RANKING = (
    "Each point of a curve is one threshold. A ROC curve shows the right rows found against the false alarms, whatever the "
    "share of the label; precision and recall show how many of the rows found are right, and suffer where the label is rare. "
    "The dotted line is guessing; the number beside a label is the area under its curve."
)
TRUST = (
    "Where a model says 0.9, nine answers of ten should be right: points on the dotted line keep that promise, points below "
    "it are too sure. Larger points hold more rows. The bars show how often each confidence is given, and how much of it "
    "is wrong."
)

CHANCE = ((0.0, 0.0), (1.0, 1.0))
Curve = tuple[str, float | None, list[Point]]


def discrimination(result: Node) -> Markup:
    """The section of the score curves."""
    found = result["figures"]
    ranking = _row("Does the score rank the rows rightly?", RANKING, _roc(found), _precision_recall(found))
    trust = _row("Can the confidence be believed?", TRUST, _reliability(found), _confidence(found))
    return section("curves", "How well the scores separate", ranking, trust)


def _row(title: str, words: str, *charts: Markup | None) -> Markup | None:
    told = element("div", element("h3", title), element("p", words), class_="words")
    return element("div", told, *charts, class_="charts") if any(charts) else None


def _curves(found: Node) -> list[Curve]:
    """The curves with those to be named first: the mean where there is one, then the smallest areas."""
    known: list[Curve] = []
    for one in found["curves"].items():
        xs, ys = one["x"].numbers(), one["y"].numbers()
        if len(xs) == len(ys) and len(xs) > 1:
            known.append((one["label"].text(), one["area"].number(), list(zip(xs, ys, strict=True))))
    if len(known) > NUM_NAMED and not found["note"]:
        known.sort(key=lambda curve: 2.0 if curve[1] is None else curve[1])
    return known


def _drawn(x: Axis, y: Axis, known: Sequence[Curve], below: str = "") -> tuple[Markup, Markup]:
    """The curves, the named ones on top of the grey ones, over the line of guessing; and their key."""
    lines: list[tuple[Sequence[Point], str]] = [(points, "line faint") for _, _, points in known[NUM_NAMED:]]
    named = known[:NUM_NAMED]
    lines += [(points, f"line series{index}") for index, (_, _, points) in reversed([*enumerate(named)])]
    entries: list[tuple[str, str]] = [
        (f"line series{index}", join((datum(label, 40), f" {decimal(area)}" if area is not None else "")))
        for index, (label, area, _) in enumerate(named)
    ]
    return curves(x, y, [*([(CHANCE, "line chance")] if below == "diagonal" else []), *lines]), key(entries)


def _caption(what: str, known: Sequence[Curve], note: str) -> str:
    if note:
        return f"{what}; {note}"
    return f"{what}; the {NUM_NAMED} lowest of {whole(len(known))} labels are named" if len(known) > NUM_NAMED else what


def _roc(found: Node) -> Markup | None:
    known = _curves(found["roc"])
    if not known:
        return None
    x, y = unit_axis(), unit_axis(upward=True)
    lines, names = _drawn(x, y, known, "diagonal")
    drawn = plot(x, y, [lines], says=f"ROC. Area: {_areas(known)}.", x_label="false positive rate", shape="square")
    return figure("ROC", _caption("True positive rate", known, found["roc"]["note"].text()), drawn, names)


def _precision_recall(found: Node) -> Markup | None:
    known = _curves(found["pr"])
    if not known:
        return None
    x, y = unit_axis(), unit_axis(upward=True)
    lines, names = _drawn(x, y, known)
    last = known[0][2][-1]
    # At recall 1 every row is given the label, so that the precision is the share of the label: what guessing reaches.
    guess = [rule_y(y, last[1], "chance")] if len(known) == 1 and last[0] == 1 else []
    says = f"Precision over recall. Area: {_areas(known)}."
    drawn = plot(x, y, [*guess, lines], says=says, x_label="recall", shape="square")
    return figure("Precision and recall", _caption("Precision", known, found["pr"]["note"].text()), drawn, names)


def _areas(known: Sequence[Curve]) -> str:
    return (
        ", ".join(f"{label} {decimal(area)}" for label, area, _ in known[:NUM_NAMED] if area is not None) or "not known"
    )


def _reliability(found: Node) -> Markup | None:
    bins = [
        (confidence, right, count)
        for one in found["reliability"]["bins"].items()
        if (confidence := one["confidence"].number()) is not None
        and (right := one["right"].number()) is not None
        and (count := one["count"].number())
    ]
    if not bins:
        return None
    x, y = unit_axis(), unit_axis(upward=True)
    most = max(count for _, _, count in bins)
    gaps = [([(confidence, confidence), (confidence, right)], "line gap") for confidence, right, _ in bins]
    marks = [curves(x, y, [(CHANCE, "line chance"), *gaps])]
    marks += [dot(x.at(a), y.at(b), "point series0 filled", 2.5 + 6 * math.sqrt(abs(n) / most)) for a, b, n in bins]
    told = ", ".join(f"{decimal(a, 2)} gives {decimal(b, 2)} on {counted(n, 'row')}" for a, b, n in bins)
    says = f"Confidence against the share of right answers: {told}."
    drawn = plot(x, y, marks, says=says, x_label="confidence", shape="square")
    return figure("Calibration", "Share of right answers", drawn)


def _confidence(found: Node) -> Markup | None:
    edges = found["confidence"]["edges"].numbers()
    right, wrong = found["confidence"]["right"].numbers(), found["confidence"]["wrong"].numbers()
    if (
        len(edges) < 2
        or not len(right) == len(wrong) == len(edges) - 1
        or sorted(edges) != edges
        or len(set(edges)) < len(edges)
    ):
        return None
    filled = [index for index, (good, bad) in enumerate(zip(right, wrong, strict=True)) if good + bad > 0]
    if not filled or min(*right, *wrong) < 0:
        return None
    first, last = filled[0], filled[-1] + 1
    edges, right, wrong = edges[first : last + 1], right[first:last], wrong[first:last]
    x = Axis(edges[0], edges[-1], _ticks(edges))
    y = axis([a + b for a, b in zip(right, wrong, strict=True)], zero=True, upward=True)
    marks: list[str] = []
    for low, high, good, bad in zip(edges, edges[1:], right, wrong, strict=False):
        left, width = x.share(low) + 0.4, max(x.share(high) - x.share(low) - 0.8, 0.2)
        middle, top = y.share(bad), y.share(good + bad)
        marks.append(bar(f"{left:.2f}%", f"{top:.2f}%", width, middle - top, "fill series0"))
        marks.append(bar(f"{left:.2f}%", f"{middle:.2f}%", width, 100 - middle, "fill wrong"))
    num_wrong, num_rows = sum(wrong), sum(right) + sum(wrong)
    says = f"Rows by confidence; {counted(num_wrong, 'wrong answer')} of {whole(num_rows)} ({percent(num_wrong, num_rows)})."
    entries = [("block series0", "right"), ("block wrong", "wrong")]
    return figure(
        "Confidence",
        "Rows by confidence of the answer",
        plot(x, y, marks, says=says, x_label="confidence", shape="square"),
        key(entries),
    )


def _ticks(edges: Sequence[float]) -> tuple[tuple[float, str], ...]:
    middle = (edges[0] + edges[-1]) / 2
    return tuple((value, f"{value:.2f}".rstrip("0").rstrip(".")) for value in (edges[0], middle, edges[-1]))
