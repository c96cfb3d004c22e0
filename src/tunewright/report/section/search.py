"""A search: the best value so far, every trial, which options mattered, and the winning recipe with its command."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunewright.report.blocks import code, command, facts, fold, paragraph, part, section, share_bar, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.svg import Axis, Point, axis, curves, dot, figure, key, plot, text
from tunewright.report.wording import decimal, metric_name, scientific, significant
from tunewright.words import counted, duration, shown

MOST_SLICES = 6
LOG_FROM = 20.0
"""An option whose values span more than this factor is drawn on a logarithmic axis."""


def opening(result: Node) -> Markup:
    """The head of the page: the best value, and what it was chosen on."""
    found = result["search"]
    best, value = found["best"], found["best"]["value"].number()
    trials = found["trials"].items()
    name = metric_name(found["metric"].text())
    headline = "No trial was completed." if value is None else f"{name} {decimal(value, 4)} on the validation rows."
    chosen = (
        f"The best of {counted(len(trials), 'trial')}. It was chosen for this value, so the value flatters it; the test "
        "rows were not seen. The command below trains the winner and judges it on them."
    )
    states = [one["state"].text() for one in trials]
    seconds = sum(one["seconds"].number() or 0.0 for one in trials)
    entries = [
        ("Best trial", datum(best["number"].text())),
        ("Complete", str(states.count("complete"))),
        ("Pruned", str(states.count("pruned"))),
        ("Failed", str(states.count("failed"))),
        ("Time of trials", duration(seconds)),
        ("Strategy", datum(found["strategy"]["name"].text())),
        ("Pruner", datum(found["pruner"].text())),
    ]
    return element(
        "section",
        paragraph("Search", class_="kicker"),
        element("h1", headline, id="verdict-title"),
        paragraph(chosen, class_="lede") if best else None,
        facts(entries, class_="headline"),
        id="verdict",
        class_="verdict unsure",
        aria_labelledby="verdict-title",
    )


def winner(result: Node) -> Markup:
    """The winning values, the command that trains and judges them, and the whole recipe."""
    best = result["search"]["best"]
    rows = [[code(path), code(_typed(value))] for path, value in best["parameters"].pairs()]
    return section(
        "winner",
        "The winning recipe",
        table("Values of the best trial", ["Option", "Value"], rows, class_="reasons") if rows else None,
        paragraph("This trains the winner and judges it on the test rows:") if best else None,
        command(best["command"].text()) if best["command"] else None,
        fold("The recipe as it was written", element("pre", element("code", datum(best["recipe"].text()))))
        if best["recipe"]
        else None,
    )


def trials(result: Node) -> Markup:
    """The curve of the best value so far, and the table of all trials."""
    found = result["search"]
    all_trials = found["trials"].items()
    options = [path for path, _ in found["space"].pairs()]
    best = found["best"]["number"].number()
    rows, marked = [], []
    for index, one in enumerate(all_trials):
        number, value = one["number"].number(), one["value"].number()
        marked += [index] if number is not None and number == best else []
        reason = element("small", datum(one["reason"].text())) if one["reason"] else None
        rows.append(
            [
                datum(one["number"].text()),
                "–" if value is None else decimal(value, 4),
                join((datum(one["state"].text()), reason)),
                duration(one["seconds"].number() or 0.0),
                *(code(_typed(one["parameters"][path])) for path in options),
            ]
        )
    heads = ["Trial", metric_name(found["metric"].text()), "State", "Time", *options]
    whole = table("Trials", heads, rows, numeric=(1, 3), marked=marked) if rows else None
    return section("trials", "Trials", _so_far(found, all_trials), whole)


def _so_far(found: Node, all_trials: Sequence[Node]) -> Markup | None:
    sign = 1.0 if found["higher_is_better"].value is True else -1.0
    complete = [
        (number, value)
        for one in all_trials
        if one["state"].text() == "complete"
        and (number := one["number"].number()) is not None
        and (value := one["value"].number()) is not None
    ]
    if len(complete) < 2:
        return None
    line: list[Point] = []
    for number, value in complete:
        reached = value if not line or sign * value > sign * line[-1][1] else line[-1][1]
        line += [(number, line[-1][1] if line else reached), (number, reached)]  # a step
    x, y = axis([number for number, _ in complete], target=6), axis([value for _, value in complete], upward=True)
    dots = [dot(x.at(number), y.at(value), "point series0 filled", 3.5) for number, value in complete]
    name = metric_name(found["metric"].text())
    says = f"Best {name} so far: {significant(line[0][1], 4)} at first, {significant(line[-1][1], 4)} at the end."
    return figure(
        f"{name} on the validation rows",
        "Each dot is a complete trial",
        plot(x, y, [curves(x, y, [(line, "line series1")]), *dots], says=says, x_label="trial"),
        key([("line series1", "best so far")]),
    )


def importance(result: Node) -> Markup:
    """Which options mattered, and the value over each of them."""
    found = result["search"]
    shares = sorted(
        ((path, share) for path, node in found["importance"].pairs() if (share := node.number()) is not None),
        key=lambda entry: -entry[1],
    )
    complete = [one for one in found["trials"].items() if one["state"].text() == "complete"]
    rows = [[code(path), join((decimal(share, 2), share_bar(share)))] for path, share in shares]
    note = (
        f"The share of the variance that each option explains over {counted(len(complete), 'complete trial')}, by "
        "functional ANOVA (Hutter et al. 2014) on a random forest; with few trials it is a hint, not a measurement."
    )
    order = [path for path, _ in shares] or [path for path, _ in found["space"].pairs()]
    slices = [one for path in order[:MOST_SLICES] if (one := _slice(found, complete, path)) is not None]
    return section(
        "importance",
        "Which options mattered",
        join((paragraph(note), table("Importance of options", ["Option", "Share"], rows, numeric=(1,))))
        if rows
        else None,
        part("The value over each option", element("div", *slices, class_="charts") if slices else None),
    )


def _slice(found: Node, complete: Sequence[Node], path: str) -> Markup | None:
    pairs = [(one["parameters"][path], value) for one in complete if (value := one["value"].number()) is not None]
    numbers = [number for node, _ in pairs if (number := node.number()) is not None]
    names = list(dict.fromkeys(_typed(node) for node, _ in pairs))
    if len(pairs) < 3 or len(names) < 2:
        return None
    y = axis([value for _, value in pairs], upward=True)
    if len(numbers) == len(pairs):
        is_log = min(numbers) > 0 and max(numbers) / min(numbers) > LOG_FROM
        x = _log_axis(numbers) if is_log else axis(numbers, target=3)
        places = [math.log10(number) if is_log else number for number in numbers]
    else:
        x = Axis(-0.5, len(names) - 0.5, tuple((float(index), name) for index, name in enumerate(names)))
        places = [float(names.index(_typed(node))) for node, _ in pairs]
    dots = [
        dot(x.at(place), y.at(value), "point series0 filled", 3.5)
        for place, (_, value) in zip(places, pairs, strict=True)
    ]
    name = metric_name(found["metric"].text())
    says = f"{name} of {counted(len(pairs), 'complete trial')} over {path}."
    label = [text("50%", "100%", path, "tick mid", dy=34)]
    return figure(path, name, plot(x, y, [*dots, *label], says=says))


def _log_axis(numbers: Sequence[float]) -> Axis:
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
    return Axis(low, high, tuple((float(power), scientific(10.0**power, 1)) for power in range(low, high + 1)))


def _typed(node: Node) -> str:
    """A value as a person would type it; a long fraction cut to four digits."""
    if isinstance(node.value, float) and (number := node.number()) is not None:
        return significant(number, 4)
    return shown(node.value)
