"""Charts as inline SVG, drawn by pure functions and coloured by the page's style sheet alone.

Every coordinate is a percentage of the plot, so that a chart fills any width while its type keeps its size; only paths,
which SVG does not allow percentages in, lie in a nested frame of 1,000 x 1,000 that stretches under them. Axis labels hang
outside the frame, in the margin that the style sheet leaves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunewright.report.markup import Markup, element, join
from tunewright.report.wording import MINUS, scientific

Point = tuple[float, float]
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values with the ticks to label; ``upward`` axes grow from the bottom (SVG counts from the top)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    upward: bool = False

    def share(self, value: float) -> float:
        """Where the value lies, 0 to 100 from the left or the top; values outside lie on the edge."""
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        part = min(max(part, 0.0), 1.0)
        return 100 * (1 - part if self.upward else part)

    def at(self, value: float) -> str:
        """The same as an SVG coordinate."""
        return f"{round(self.share(value), 2):g}%"


def trimmed(found: Axis, values: Iterable[float], margin: float = 0.04) -> Axis:
    """The axis cut to the values and a margin (a share of their range) on both sides; it need not end on a tick."""
    known = list(values)
    room = margin * (max(known) - min(known))
    low, high = min(known) - room, max(known) + room
    return Axis(low, high, tuple(tick for tick in found.ticks if low <= tick[0] <= high), found.upward)


def axis(values: Iterable[float], *, target: int = 4, zero: bool = False, upward: bool = False) -> Axis:
    """An axis over the values with about ``target`` intervals, steps of 1, 2 or 5 times a power of ten, ends on a tick."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    step = _step((high - low) / target)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(
        first * step,
        last * step,
        tuple((index * step, _tick(index * step, digits)) for index in range(first, last + 1)),
        upward,
    )


def unit_axis(*, upward: bool = False) -> Axis:
    """The axis of a share, 0 to 1."""
    return Axis(0.0, 1.0, ((0.0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1.0, "1")), upward)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if rough <= factor * power * (1 + 1e-9)), 10 * power)


def _tick(value: float, digits: int) -> str:
    if digits > 4 or abs(value) >= 1e6:
        return scientific(value) if abs(value) > 10.0**-digits / 2 else "0"
    text = f"{value:,.{digits}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def plot(x: Axis, y: Axis, marks: Sequence[str], *, says: str, x_label: str = "", shape: str = "wide") -> Markup:
    """A plot with horizontal grid lines, labelled axes and marks; ``says`` is what a screen reader reads in its place."""
    grid = [
        part
        for value, label in y.ticks
        for part in (
            rule_y(y, value, "grid" if value != y.low else "base"),
            text("0%", y.at(value), label, "tick end", dx=-7, dy=4),
        )
    ]
    below = [text(x.at(value), "100%", label, "tick mid", dy=17) for value, label in x.ticks]
    named = [text("50%", "100%", x_label, "tick mid", dy=34)] if x_label else []
    return element("svg", *grid, *below, *named, *marks, class_=f"plot {shape}", role="img", aria_label=says)


def strip(marks: Sequence[str], *, says: str, kind: str = "strip") -> Markup:
    """A plot without axes of its own, one line high, for a table cell."""
    return element("svg", *marks, class_=kind, role="img", aria_label=says)


def text(x: str, y: str, content: str, class_: str, *, dx: float = 0, dy: float = 0) -> Markup:
    """Text at a place, moved by pixels; ``mid`` and ``end`` in the class anchor it."""
    return element("text", content, x=x, y=y, dx=dx or None, dy=dy or None, class_=class_)


def rule_x(x: Axis, value: float, class_: str) -> Markup:
    """A vertical line through the whole plot."""
    return element("line", x1=x.at(value), x2=x.at(value), y1="0%", y2="100%", class_=class_)


def rule_y(y: Axis, value: float, class_: str) -> Markup:
    """A horizontal line through the whole plot."""
    return element("line", x1="0%", x2="100%", y1=y.at(value), y2=y.at(value), class_=class_)


def segment(x: Axis, low: float, high: float, y: str, class_: str) -> Markup:
    """A horizontal line between two values."""
    return element("line", x1=x.at(low), x2=x.at(high), y1=y, y2=y, class_=class_)


def dot(x: str, y: str, class_: str, radius: float = 4.5) -> Markup:
    """A point."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def bar(x: str, y: str, width: float, height: float, class_: str) -> Markup:
    """A rectangle; width and height in percent of the plot."""
    return element("rect", x=x, y=y, width=f"{round(width, 2):g}%", height=f"{round(height, 2):g}%", class_=class_)


def curves(x: Axis, y: Axis, lines: Iterable[tuple[Sequence[Point], str]]) -> Markup:
    """Lines through points, each with its class, in one stretched frame; their strokes keep their width."""
    paths = [element("path", d=d, class_=class_) for points, class_ in lines if (d := _path(x, y, points))]
    frame = {"viewBox": "0 0 1000 1000", "preserveAspectRatio": "none"}
    return element("svg", *paths, width="100%", height="100%", class_="curves", **frame)


def _path(x: Axis, y: Axis, points: Sequence[Point]) -> str:
    """The path at a resolution of a thousandth of the plot; points that would not be seen are left out."""
    places: list[Place] = []
    for place in _thinned([(round(10 * x.share(across)), round(10 * y.share(up))) for across, up in points]):
        if places[-1:] == [place]:
            continue
        if len(places) > 1 and _on_a_line(places[-2], places[-1], place):
            places.pop()
        places.append(place)
    return "M" + "L".join(f"{across},{down}" for across, down in places) if places else ""


def _thinned(places: Sequence[Place]) -> Iterator[Place]:
    """Of each run of points in one column the first, the lowest, the highest and the last, in their order."""
    for _, column in itertools.groupby(enumerate(places), key=lambda entry: entry[1][0]):
        run = list(column)
        kept = {run[0], min(run, key=lambda e: e[1][1]), max(run, key=lambda e: e[1][1]), run[-1]}
        yield from (place for _, place in sorted(kept))


def _on_a_line(first: Place, second: Place, third: Place) -> bool:
    ahead = (second[0] - first[0]) * (third[0] - second[0]) + (second[1] - first[1]) * (third[1] - second[1]) >= 0
    return ahead and (second[0] - first[0]) * (third[1] - first[1]) == (second[1] - first[1]) * (third[0] - first[0])


def figure(title: str, note: str, *content: str, class_: str = "chart") -> Markup:
    """A chart with its title and a line that says how to read it."""
    caption = element("figcaption", element("strong", title), element("span", note) if note else None)
    return element("figure", caption, *content, class_=class_)


def key(entries: Iterable[tuple[str, str]]) -> Markup:
    """A list that names the lines of a chart: their class and what they show."""
    sample = {"width": "26", "height": "10", "aria_hidden": "true"}
    return element(
        "ul",
        join(
            element(
                "li",
                element("svg", element("line", x1="0", x2="26", y1="5", y2="5", class_=class_), **sample),
                " ",
                name,
            )
            for class_, name in entries
        ),
        class_="key",
    )
