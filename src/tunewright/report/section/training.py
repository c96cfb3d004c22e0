"""How training went: loss, the validation metric with the step that was kept, learning rate and gradient norm."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.blocks import fold, paragraph, section, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.svg import Axis, Point, axis, curves, dot, figure, key, plot, rule_x, text
from tunewright.report.wording import LOWER_IS_BETTER, decimal, metric_name, significant, whole
from tunewright.words import counted

# A smoothed line over the raw one is drawn from this many steps on; the window is a fortieth of the run.
SMOOTHED_FROM = 60
NUM_WINDOWS = 40


def training(result: Node) -> Markup:
    """The section of the training curves."""
    found = result["curves"]
    steps, evaluations = found["steps"].items(), found["evaluations"].items()
    charts = [one for one in (_loss(steps, evaluations), _metric(evaluations, found["best_step"].number())) if one]
    told = _told(found, steps, len(result["incidents"].items()))
    lesser = [
        one for one in (_line(steps, "lr", "Learning rate"), _line(steps, "gradient_norm", "Gradient norm")) if one
    ]
    return section(
        "training",
        "How training went",
        element("div", element("div", told, class_="words") if told else None, *charts, class_="charts")
        if told or charts
        else None,
        fold("Learning rate and gradient norm", element("div", *lesser, class_="charts") if lesser else None),
        _numbers(evaluations),
    )


def _told(found: Node, steps: Sequence[Node], num_spikes: int) -> Markup | None:
    parts = []
    if steps and (last := steps[-1]["step"].number()):
        epochs = steps[-1]["epoch"].number()
        over = f" over {significant(epochs)} {'epoch' if epochs == 1 else 'epochs'}" if epochs else ""
        parts.append(f"{counted(last, 'step')}{over}.")
    if (best := found["best_step"].number()) is not None:
        parts.append(f"The weights of step {whole(best)} were kept: the best on the validation rows.")
    if found["stopped_because"]:
        parts.append(f"Training ended because: {found['stopped_because'].text()}.")
    skipped = sum(1 for step in steps if step["skipped"].value is True)
    if skipped:
        parts.append(
            f"{counted(skipped, 'step was', 'steps were')} not applied: loss or gradient was not finite, or a spike."
        )
    if num_spikes:
        spikes = counted(num_spikes, "spike was", "spikes were")
        parts.append(f"{spikes} taken back and the batch passed over; incidents.json names the rows.")
    return paragraph(datum(" ".join(parts))) if parts else None


def _series(nodes: Sequence[Node], name: str) -> list[Point]:
    pairs = ((node["step"].number(), node[name].number()) for node in nodes)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def smooth(points: Sequence[Point], window: int) -> list[Point]:
    """The mean over a centred window of ``window`` points, shorter at both ends."""
    totals = [0.0]
    for _, value in points:
        totals.append(totals[-1] + value)
    half, smoothed = window // 2, []
    for index, (step, _) in enumerate(points):
        first, last = max(0, index - half), min(len(points), index + half + 1)
        smoothed.append((step, (totals[last] - totals[first]) / (last - first)))
    return smoothed


def _loss(steps: Sequence[Node], evaluations: Sequence[Node]) -> Markup | None:
    trained, validated = _series(steps, "loss"), _series(evaluations, "loss")
    if len(trained) < 2 and len(validated) < 2:
        return None
    x, y = _step_axis([*trained, *validated]), _value_axis([*_within(trained), *validated], zero=True)
    lines: list[tuple[Sequence[Point], str]] = [(trained, "line series0")]
    note = "Mean over the rows of a step"
    if len(trained) >= SMOOTHED_FROM:
        window = len(trained) // NUM_WINDOWS * 2 + 1
        lines = [(trained, "line faint"), (smooth(trained, window), "line series0")]
        note = f"Thick: mean over {window} steps"
    lines.append((validated, "line series1"))
    dots = [dot(x.at(step), y.at(value), "point series1 filled", 3) for step, value in validated]
    says = f"Loss by step. {_first_and_last('Training loss', trained)} {_first_and_last('Validation loss', validated)}"
    marks = [_skipped(steps, x), curves(x, y, lines), *dots]
    lost = [("skipped", "step not applied")] if any(step["skipped"].value is True for step in steps) else []
    names = [("line series0", "training rows")] * bool(trained) + [("line series1", "validation rows")] * bool(
        validated
    )
    return figure("Loss", note, plot(x, y, marks, says=says, x_label="step"), key(names + lost))


def _metric(evaluations: Sequence[Node], best: float | None) -> Markup | None:
    points = _series(evaluations, "value")
    if not points:
        return None
    name = next((one["metric"].text() for one in evaluations if one["metric"]), "metric")
    x, y = _step_axis(points), _value_axis([*points])
    marks = [
        curves(x, y, [(points, "line series1")]),
        *(dot(x.at(a), y.at(b), "point series1 filled", 3) for a, b in points),
    ]
    says = f"{metric_name(name)} on validation rows by step. {_first_and_last(metric_name(name), points)}"
    kept = next((value for step, value in points if step == best), None)
    if best is not None and kept is not None:
        end = x.share(best) > 60
        below = y.share(kept) < 15
        label = text(
            x.at(best),
            y.at(kept),
            f"kept: {decimal(kept)}",
            "direct end" if end else "direct",
            dx=-9 if end else 9,
            dy=18 if below else -10,
        )
        marks = [rule_x(x, best, "best"), *marks, dot(x.at(best), y.at(kept), "point series1 ringed", 7), label]
        says += f" Best: {decimal(kept)} at step {whole(best)}."
    note = "On the validation rows" + (", lower is better" if name in LOWER_IS_BETTER else "")
    return figure(metric_name(name), note, plot(x, y, marks, says=says, x_label="step"))


def _line(steps: Sequence[Node], name: str, title: str) -> Markup | None:
    points = _series(steps, name)
    if len(points) < 2:
        return None
    x, y = _step_axis(points), _value_axis(_within(points), zero=True)
    chart = plot(
        x,
        y,
        [curves(x, y, [(points, "line series0")])],
        says=f"{title} by step. {_first_and_last(title, points)}",
        x_label="step",
    )
    return figure(title, "Per step", chart)


def _step_axis(points: Sequence[Point]) -> Axis:
    spread = axis((step for step, _ in points), target=4, zero=True)
    last = max(step for step, _ in points)
    # The last step is the end of the axis: a run is not drawn with room after it.
    return Axis(spread.low, max(last, 1.0), tuple(tick for tick in spread.ticks if tick[0] <= last), False)


def _value_axis(points: Sequence[Point], *, zero: bool = False) -> Axis:
    return axis((value for _, value in points), target=4, zero=zero, upward=True)


def _within(points: Sequence[Point]) -> Sequence[Point]:
    """The points without the highest hundredth, so that one spike does not flatten the curve; it is cut at the top."""
    if len(points) < SMOOTHED_FROM:
        return points
    limit = sorted(value for _, value in points)[int(len(points) * 0.99)] * 1.1
    return [point for point in points if point[1] <= limit] or points


def _skipped(steps: Sequence[Node], x: Axis) -> Markup:
    at = [step["step"].number() for step in steps if step["skipped"].value is True]
    ticks = [
        element("line", x1=x.at(step), x2=x.at(step), y1="92%", y2="100%", class_="skipped")
        for step in at
        if step is not None
    ]
    return join(ticks)


def _first_and_last(name: str, points: Sequence[Point]) -> str:
    if not points:
        return ""
    first, last = (f"{significant(value)} at step {whole(step)}" for step, value in (points[0], points[-1]))
    return f"{name}: {first}, {last}."


def _numbers(evaluations: Sequence[Node]) -> Markup | None:
    rows = [
        [
            whole(step),
            significant(epoch) if (epoch := one["epoch"].number()) is not None else "",
            decimal(value, 4) if (value := one["value"].number()) is not None else "–",
            decimal(loss, 4) if (loss := one["loss"].number()) is not None else "–",
        ]
        for one in evaluations
        if (step := one["step"].number()) is not None
    ]
    if not rows:
        return None
    name = metric_name(evaluations[0]["metric"].text() or "metric")
    return fold(
        "The evaluations as a table",
        table("Evaluations on validation rows", ["Step", "Epoch", datum(name, 40), "Loss"], rows, numeric=(1, 2, 3)),
    )
