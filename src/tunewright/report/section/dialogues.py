"""A text model at work: on how many dialogues it predicts better, how long its answers are, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.blocks import fold, paragraph, section
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node, in_order
from tunewright.report.privacy import Policy
from tunewright.report.svg import Axis, axis, bar, curves, figure, key, plot, rule_x
from tunewright.report.wording import decimal, signed, significant, system_name, whole
from tunewright.words import counted

SHOWN_SYSTEMS = ("tuned", "untouched_base", "few_shot")
LINES = ("line series0", "line series1", "line series2")
NUM_OPEN = 3
MAX_CHARACTERS = 600


def predicted(result: Node) -> Markup:
    """The section of the distributions over dialogues."""
    charts = [one for one in (_differences(result), _lengths(result)) if one]
    shown = element("div", *charts, class_="charts") if charts else None
    return section("predicted", "Prediction and length", shown)


def dialogues(result: Node, policy: Policy) -> Markup:
    """The section of the answered dialogues, as far as the policy lets them be shown."""
    given = [one.value for one in result["dialogues"].items() if isinstance(one.value, dict)]
    rows = [Node(row) for row in policy.select_dialogues(given)]
    worst = [row for row in rows if row["is_worst"].value is True]
    sample = [row for row in rows if row["is_worst"].value is not True]
    return section(
        "dialogues",
        "What it says",
        _note(policy) if rows else None,
        *_group("A plain sample", "Spread evenly over the answered test dialogues.", sample),
        *_group("Where tuning lost most", "By nats against the untouched base.", worst),
    )


def _differences(result: Node) -> Markup | None:
    found = result["figures"]["nll_differences"]
    edges, counts = found["edges"].numbers(), found["counts"].numbers()
    if len(edges) != len(counts) + 1 or not counts:
        return None
    won, lost = found["won"].count() or 0, found["lost"].count() or 0
    against = system_name(found["against"].text()).lower()
    x = Axis(edges[0], edges[-1], axis(edges, target=4).ticks)
    x = Axis(x.low, x.high, tuple(tick for tick in x.ticks if x.low <= tick[0] <= x.high))
    y = axis(counts, target=3, zero=True, upward=True)
    bars = [
        bar(
            x.at(left), y.at(count), max(x.share(right) - x.share(left) - 0.3, 0.2), 100 - y.share(count),
            "fill series0" if right <= 1e-9 else "fill wrong",
        )
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]  # fmt: skip
    says = f"Nats per dialogue, tuned minus {against}: {whole(won)} dialogues predicted better, {whole(lost)} worse"
    note = f"Dialogues by nats, tuned minus {against}; the ends hold what lies beyond"
    chart = plot(x, y, [*bars, rule_x(x, 0.0, "zero")], says=says, x_label="nats per dialogue")
    names = [
        ("block series0", f"predicted better: {counted(won, 'dialogue')}"),
        ("block wrong", f"worse: {whole(lost)}"),
    ]
    return figure("On how many dialogues?", note, chart, key(names))


def _lengths(result: Node) -> Markup | None:
    found = result["figures"]["lengths"]
    edges = found["edges"].numbers()
    counted_in = {name: node.numbers() for name, node in found["systems"].pairs()}
    shown = [
        name for name in ("tuned", "reference", "untouched_base") if len(counted_in.get(name, [])) + 1 == len(edges)
    ]
    if len(edges) < 2 or not shown:
        return None
    x = Axis(0.0, edges[-1], tuple(tick for tick in axis(edges, target=4, zero=True).ticks if tick[0] <= edges[-1]))
    y = axis([count for name in shown for count in counted_in[name]], target=3, zero=True, upward=True)
    lines = [(_steps(edges, counted_in[name]), class_) for name, class_ in zip(shown, LINES, strict=False)]
    says = "Answers by length: " + "; ".join(
        f"{system_name(name)}, most at {significant(edges[_peak(counted_in[name])])} characters" for name in shown
    )
    chart = plot(x, y, [curves(x, y, lines)], says=says, x_label="characters")
    names = [(class_, system_name(name)) for name, class_ in zip(shown, LINES, strict=False)]
    return figure("How long are the answers?", "Answers by their number of characters", chart, key(names))


def _steps(edges: Sequence[float], counts: Sequence[float]) -> list[tuple[float, float]]:
    return [(edge, count) for at, count in enumerate(counts) for edge in (edges[at], edges[at + 1])]


def _peak(counts: Sequence[float]) -> int:
    return max(range(len(counts)), key=lambda at: counts[at])


def _note(policy: Policy) -> Markup:
    if policy.rows == "ids":
        return paragraph("Only where they stand is shown (report.rows: ids).", class_="quiet")
    masked = "Personal data are masked." if policy.masked else "Texts are shown as they are (report.mask: false)."
    return paragraph(f"The last turn of test dialogues, answered by each model. {masked}", class_="quiet")


def _group(title: str, note: str, rows: Sequence[Node]) -> list[Markup]:
    if not rows:
        return []
    rest = rows[NUM_OPEN:]
    return [
        element("h3", title),
        paragraph(note, class_="quiet"),
        element("ol", *map(_row, rows[:NUM_OPEN]), class_="errors"),
        fold(counted(len(rest), "more dialogue"), element("ol", *map(_row, rest), class_="errors"))
        if rest
        else Markup(""),
    ]


def _row(row: Node) -> Markup:
    where = row["origin"].text() or (f"row {row['id'].text()}" if row["id"] else "")
    nats = {name: value for name, node in row["nll"].pairs() if (value := node.number()) is not None}
    told = []
    for name, content in [("reference", row["reference"]), *in_order(row["answers"].pairs(), SHOWN_SYSTEMS)]:
        cost = f"{decimal(nats[name], 1)} nats" if name in nats else ""
        if content.value is not None:
            told.append(_said(name, content.text(), cost))
    gap = nats["tuned"] - nats["untouched_base"] if {"tuned", "untouched_base"} <= nats.keys() else None
    change = element("span", "nats against the base ", element("b", signed(gap, 1))) if gap is not None else None
    return element(
        "li",
        element("blockquote", _cut(row["prompt"].text())) if row["prompt"] else None,
        element("dl", *told, class_="said") if told else None,
        element("p", change, element("code", datum(where)) if where else None, class_="answer where"),
    )


def _said(name: str, content: str, cost: str) -> Markup:
    label = join((system_name(name), element("small", cost) if cost else None))
    said = _cut(content) if content.strip() else element("i", "nothing")
    return element("div", element("dt", label), element("dd", said), class_=name if name == "tuned" else None)


def _cut(content: str) -> Markup:
    cut = element("small", f" … {whole(len(content))} characters in all") if len(content) > MAX_CHARACTERS else None
    return join((datum(content[:MAX_CHARACTERS]), cut))
