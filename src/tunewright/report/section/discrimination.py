"""How well the scores separate and how far they can be trusted: ROC, precision and recall, calibration, confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunewright.report.blocks import section
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.svg import Axis, Point, axis, bar, curves, dot, figure, key, plot, rule_y, unit_axis
from tunewright.report.wording import counted, decimal, percent, whole

# Up to this many curves are told apart by stroke and colour; of more, the weakest are, and the rest stays grey.
NUM_NAMED = 3
MAX_GREY = 30
RANKING = (
    "Each point of a curve is one threshold. A ROC curve shows the right rows found against the false alarms, whatever the "
    "share of the label; precision and recall show how many of the rows found are right, and suffer where the label is rare. "
    "The dotted line is guessing; the number beside a label is the area under its curve."
)
TRUST = (
    "Where a model says 0.9, nine answers of ten should be right: points on the dotted line keep that promise, points below "
    "it are too sure. Larger points hold more rows. The bars show how often each confidence is given, and how much of it is wrong."
)
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


def _curves(nodes: Sequence[Node], across: str, up: str, area: str) -> list[Curve]:
    """The curves, the one with the smallest area first."""
    found: list[Curve] = []
    for one in nodes:
        xs, ys = one[across].numbers(), one[up].numbers()
        if len(xs) == len(ys) and len(xs) > 1:
            found.append((one["label"].text(), one[area].number(), list(zip(xs, ys, strict=True))))
    return sorted(found, key=lambda curve: 2.0 if curve[1] is None else curve[1])


def _lines(found: Sequence[Curve]) -> tuple[list[tuple[Sequence[Point], str]], list[tuple[str, str]], str]:
    """Lines to draw with the named ones on top, the key of the named ones, and a note on the others."""
    named = found if len(found) <= NUM_NAMED else found[:NUM_NAMED]
    grey = found[len(named) :]
    drawn = grey[:: math.ceil(len(grey) / MAX_GREY)] if grey else []
    lines: list[tuple[Sequence[Point], str]] = [(points, "line faint") for _, _, points in drawn]
    lines += [(points, f"line series{index}") for index, (_, _, points) in reversed([*enumerate(named)])]
    entries: list[tuple[str, str]] = [
        (f"line series{index}", join((datum(label, 40), f" {decimal(area)}" if area is not None else "")))
        for index, (label, area, _) in enumerate(named)
    ]
    rest = f" The {NUM_NAMED} lowest of {whole(len(found))} labels are named." if grey else ""
    return lines, entries, rest


def _roc(found: Node) -> Markup | None:
    known = _curves(found["roc"].items(), "fpr", "tpr", "auc")
    if not known:
        return None
    lines, entries, rest = _lines(known)
    x, y = unit_axis(), unit_axis(upward=True)
    lines.insert(0, ([(0.0, 0.0), (1.0, 1.0)], "line chance"))
    says = f"ROC. Area by label: {_areas(known)}."
    drawn = plot(x, y, [curves(x, y, lines)], says=says, x_label="false positive rate", shape="square")
    return figure("ROC", f"True positive rate.{rest}", drawn, key(entries))


def _precision_recall(found: Node) -> Markup | None:
    nodes = found["pr"].items()
    known = _curves(nodes, "recall", "precision", "ap")
    if not known:
        return None
    lines, entries, rest = _lines(known)
    x, y = unit_axis(), unit_axis(upward=True)
    marks: list[str] = []
    prevalence = nodes[0]["prevalence"].number()
    level = ""
    if len(known) == 1 and prevalence is not None and 0 <= prevalence <= 1:
        marks.append(rule_y(y, prevalence, "chance"))
        level = f" Guessing: {decimal(prevalence, 2)}."
    says = f"Precision over recall. Average precision by label: {_areas(known)}."
    drawn = plot(x, y, [*marks, curves(x, y, lines)], says=says, x_label="recall", shape="square")
    return figure("Precision and recall", f"Precision.{level}{rest}", drawn, key(entries))


def _areas(known: Sequence[Curve]) -> str:
    return (
        ", ".join(f"{label} {decimal(area)}" for label, area, _ in known[:NUM_NAMED] if area is not None) or "not known"
    )


def _reliability(found: Node) -> Markup | None:
    bins = [
        (confidence, accuracy, one["count"].number() or 0.0)
        for one in found["reliability"].items()
        if (confidence := one["confidence"].number()) is not None and (accuracy := one["accuracy"].number()) is not None
    ]
    bins = [one for one in bins if one[2] > 0]
    if not bins:
        return None
    x, y = unit_axis(), unit_axis(upward=True)
    most = max(count for _, _, count in bins)
    gaps = [([(confidence, confidence), (confidence, accuracy)], "line gap") for confidence, accuracy, _ in bins]
    marks = [curves(x, y, [([(0.0, 0.0), (1.0, 1.0)], "line chance"), *gaps])]
    marks += [dot(x.at(a), y.at(b), "point series0 filled", 2.5 + 6 * math.sqrt(count / most)) for a, b, count in bins]
    told = ", ".join(f"{decimal(a, 2)} gives {decimal(b, 2)} on {counted(count, 'row')}" for a, b, count in bins)
    note = "Share of right answers"
    return figure(
        "Calibration",
        note,
        plot(x, y, marks, says=f"Confidence against accuracy: {told}.", x_label="confidence", shape="square"),
    )


def _confidence(found: Node) -> Markup | None:
    edges = found["confidence"]["edges"].numbers()
    right, wrong = found["confidence"]["right"].numbers(), found["confidence"]["wrong"].numbers()
    if (
        len(edges) < 2
        or not len(right) == len(wrong) == len(edges) - 1
        or sorted(edges) != edges
        or edges[0] == edges[-1]
    ):
        return None
    x = Axis(edges[0], edges[-1], _ticks(edges))
    y = axis([a + b for a, b in zip(right, wrong, strict=True)], zero=True, upward=True)
    marks = []
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
