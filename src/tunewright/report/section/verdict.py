"""The verdict: the outcome in plain words, and every comparison as an interval around zero."""

from __future__ import annotations

import math

from tunewright.report.blocks import bullets, command, facts, paragraph, section, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.svg import Axis, axis, bar, dot, rule_x, segment, strip, text, trimmed
from tunewright.report.wording import (
    LOWER_IS_BETTER,
    decimal,
    metric_name,
    metric_note,
    p_value,
    signed,
    significant,
    system_name,
    verdict_headline,
    whole,
)
from tunewright.words import counted

STYLES = {"better": "good", "worse": "bad", "no evidence": "unsure"}
# A difference more than this many times the largest required one is cut off, so that the deciding intervals stay legible.
MOST_TIMES_REQUIRED = 4.0


def verdict(result: Node) -> Markup:
    """The opening of the page: headline, sentence, the key numbers and the interval plot."""
    found = result["verdict"]
    outcome = found["outcome"].text()
    return element(
        "section",
        paragraph("Verdict", class_="kicker"),
        element("h1", verdict_headline(found), id="verdict-title"),
        _sentence(found),
        _key_numbers(result),
        _forest(found, result["judged_on"].text()),
        _checks(found),
        id="verdict",
        class_=f"verdict {STYLES.get(outcome, 'unsure')}",
        aria_labelledby="verdict-title",
    )


def diagnosis(result: Node) -> Markup:
    """The named cause, what speaks for it, and what to type next."""
    found = result["diagnosis"]
    cause = found["cause"].text()
    evidence = bullets([datum(one.text()) for one in found["evidence"].items() if one])
    commands = [found["next_command"].text(), *(one.text() for one in result["next_commands"].items())]
    kept = list(dict.fromkeys(one for one in commands if one))
    following = join((paragraph("Next, type:" if len(kept) == 1 else "Next, type one of these:"), *map(command, kept)))
    named = paragraph(element("strong", _cause(cause)), class_="cause") if cause else None
    return section("diagnosis", "Diagnosis", named, evidence, following if kept else None)


def _cause(cause: str) -> str:
    sentences = {
        "fine": "Fine: nothing in this run asks for repair.",
        "over-fit": "Over-fit: the model learned its training rows better than the task.",
        "under-fit": "Under-fit: the model has not learned what the training rows hold.",
        "too few rows": "Too few rows: the data cannot carry a firmer answer.",
        "label trouble": "Label trouble: some labels look wrong or contradict each other.",
        "does not stop": "Does not stop: too many answers run into the limit of tokens.",
        "repeats itself": "Repeats itself: its answers go in circles.",
        "forgot too much": "Forgot too much: it knows the task, and less of everything else.",
    }
    return sentences.get(cause, cause)


def _sentence(found: Node) -> Markup:
    if not found:
        return paragraph(
            "The run stopped before its verdict, or an older version wrote this result. What there is follows."
        )
    design = found["design"].text()
    told = paragraph(datum(found["sentence"].text()), class_="lede") if found["sentence"] else None
    return join((told, paragraph(datum(design), class_="quiet") if design else None))


def _key_numbers(result: Node) -> Markup:
    name = result["verdict"]["metric"].text() or next((key for key, _ in result["metrics"].pairs()), "")
    measure = result["metrics"][name]
    value, span = measure["value"].number(), measure["interval"].span()
    rows = result["num_judged"].count() or measure["num_rows"].count()
    splits = result["data"]["splits"]
    entries = [
        (metric_name(name), decimal(value) if value is not None else ""),
        ("95 % interval", f"{decimal(span[0])} to {decimal(span[1])}" if span else ""),
        ("Judged on", f"{whole(rows)} {_rows_of(result['judged_on'].text())}" if rows else ""),
        ("Trained on", counted(trained, "row") if (trained := splits["train"].count()) else ""),
    ]
    return facts(entries, "headline")


def _checks(found: Node) -> Markup | None:
    """What generated text has to pass beside the comparisons; nothing where the verdict asks for none."""
    checks = found["checks"].items()
    if not checks:
        return None
    rows = []
    for check in checks:
        name, passed = check["name"].text(), check["passed"].value is True
        value = check["value"].number()
        mark = element("b", "passed" if passed else "failed", class_="good" if passed else "bad")
        title = join((metric_name(name), element("small", datum(metric_note(name)))))
        shown = significant(value) if value is not None else "–"
        percentage = value is not None and "%" in check["limit"].text()
        rows.append(
            [
                title,
                mark,
                f"{100 * value:.1f} %" if percentage and value is not None else shown,
                datum(check["limit"].text()),
                datum(check["why"].text()),
            ]
        )
    heads = ["What it generates", "Check", "Value", "Limit", "Why"]
    shown_table = table("The checks of what the model generates", heads, rows, numeric=(2,), class_="checks")
    note = "A model of text is better only if it wins the comparisons and all of these pass."
    title = element("figcaption", element("strong", "Does what it generates hold up?"), element("span", note))
    return element("figure", title, shown_table, class_="chart whole")


def _rows_of(judged_on: str) -> str:
    return "test rows" if judged_on == "test" else f"rows, {judged_on}" if judged_on else "rows"


def _forest(found: Node, judged_on: str) -> Markup:
    comparisons = [one for one in found["comparisons"].items() if one["difference"].number() is not None]
    if not comparisons:
        return Markup("")
    comparisons.sort(key=lambda one: (one["required"].value is not True, one["difference"].number() or 0.0))
    x = _scale(comparisons)
    name = found["metric"].text() or comparisons[0]["metric"].text()
    metric = metric_name(name)
    rows = [_comparison(one, x) for one in comparisons]
    heads = ("Tuned model against", _scale_marks(x, name in LOWER_IS_BETTER), "Difference", "Test")
    head = element("tr", *(element("th", cell, scope="col", role="columnheader") for cell in heads), role="row")
    caption = element("caption", f"{metric} of the tuned model minus that of each opponent", class_="unseen")
    table = element(
        "table",
        caption,
        element("thead", head, role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_="forest",
        role="table",
    )
    plain = metric[:1].lower() + metric[1:] if metric[1:2].islower() else metric
    note = f"Difference in {plain}, tuned minus opponent, on the same {_rows_of(judged_on)}, with its 95 % interval."
    title = element("figcaption", element("strong", "Does tuning help, and against what?"), element("span", note))
    return element("figure", title, table, _reading(comparisons, x), class_="chart whole")


def _reading(comparisons: list[Node], x: Axis) -> Markup:
    """How to read the interval plot; each sentence only where it applies."""
    sentences = []
    if any(one["required"].value is True for one in comparisons):
        sentences.append(
            "Filled points and the word “decides” mark the opponents that must be beaten for the verdict “better”."
        )
    if any(one["smallest_detectable"].number() for one in comparisons):
        sentences.append(
            "The shaded band around zero reaches to the smallest difference that the test finds four times in five;"
        )
        sentences.append("a true difference inside it can go unseen.")
    if any(_is_beyond(one, x) for one in comparisons):
        sentences.append("An arrow stands for an interval beyond the scale.")
    if any(one["p_holm"].number() is not None for one in comparisons):
        sentences.append("p-values are corrected for the number of comparisons (Holm).")
    return paragraph(" ".join(sentences), class_="quiet")


def _is_beyond(one: Node, x: Axis) -> bool:
    difference = one["difference"].number() or 0.0
    low, high = one["interval"].span() or (difference, difference)
    return low > x.high or high < x.low


def _scale(comparisons: list[Node]) -> Axis:
    def reach(one: Node) -> list[float]:
        band = one["smallest_detectable"].number() or 0.0
        return [*(one["interval"].span() or ()), one["difference"].number() or 0.0, band, -band]

    deciding = [value for one in comparisons if one["required"].value is True for value in reach(one)]
    everything = [value for one in comparisons for value in reach(one)]
    limit = MOST_TIMES_REQUIRED * max(map(abs, deciding)) if any(deciding) else math.inf
    shown = [0.0, *(value for value in everything if abs(value) <= limit)]
    return trimmed(axis(shown, target=4), shown) if any(shown) else axis(shown)


def _scale_marks(x: Axis, lower: bool) -> Markup:
    ticks = [
        text(x.at(value), "100%", signed(value, _digits(x)) if value else "0", "tick mid", dy=-5)
        for value, _ in x.ticks
    ]
    sides = []
    left, right = ("tuned", "opponent") if lower else ("opponent", "tuned")
    if x.share(0) > 20:
        sides.append(text(x.at(0), "0", f"◂ {left} better", "side end", dx=-8, dy=14))
    if x.share(0) < 80:
        sides.append(text(x.at(0), "0", f"{right} better ▸", "side", dx=8, dy=14))
    return strip([*sides, *ticks], says="Scale of the differences; zero is no difference", kind="scale")


def _digits(x: Axis) -> int:
    step = x.ticks[1][0] - x.ticks[0][0] if len(x.ticks) > 1 else 0.01
    return max(0, min(4, -math.floor(math.log10(step) + 1e-9)))


def _comparison(one: Node, x: Axis) -> Markup:
    difference = one["difference"].number() or 0.0
    span, required = one["interval"].span(), one["required"].value is True
    name = system_name(one["against"].text())
    said = f"{signed(difference)}" + (f", 95 % interval {signed(span[0])} to {signed(span[1])}" if span else "")
    mark = element("span", "decides", class_="decides") if required else None
    level = one["opponent"].number()
    cells = [
        element(
            "th",
            datum(name, 60),
            " ",
            mark,
            element("small", decimal(level)) if level is not None else None,
            scope="row",
            role="rowheader",
        ),
        element("td", strip(_interval(one, x, difference, span), says=f"{name}: {said}"), role="cell"),
        element("td", element("b", signed(difference)), _ends(span), role="cell", class_="num"),
        element("td", *_test(one), role="cell", class_="num"),
    ]
    return element("tr", *cells, role="row", class_="required" if required else None)


def _ends(span: tuple[float, float] | None) -> Markup | None:
    return element("small", f"{signed(span[0])} to {signed(span[1])}") if span else None


def _test(one: Node) -> list[Markup]:
    corrected = one["p_holm"].number()
    p = corrected if corrected is not None else one["p"].number()
    parts = [element("span", p_value(p))] if p is not None else []
    smallest = one["smallest_detectable"].number()
    return [*parts, element("small", f"finds {decimal(smallest)} or more")] if smallest else parts


def _interval(one: Node, x: Axis, difference: float, span: tuple[float, float] | None) -> list[Markup]:
    required = one["required"].value is True
    marks = []
    if smallest := one["smallest_detectable"].number():
        left, right = x.share(-smallest), x.share(smallest)
        marks.append(bar(f"{left:.2f}%", "0%", right - left, 100, "blind"))
    marks.append(rule_x(x, 0.0, "zero"))
    low, high = span or (difference, difference)
    above, below = ("bad", "good") if one["metric"].text() in LOWER_IS_BETTER else ("good", "bad")
    sign = above if low > 0 else below if high < 0 else "unsure"
    if _is_beyond(one, x):
        arrow = ("100%", "▸", "end") if low > x.high else ("0%", "◂", "")
        return [*marks, text(arrow[0], "50%", arrow[1], f"arrow {sign} {arrow[2]}", dy=6)]
    marks.append(segment(x, low, high, "50%", f"whisker {sign}"))
    marks.append(
        dot(x.at(difference), "50%", f"point {sign} {'filled' if required else 'hollow'}", 6 if required else 5)
    )
    return marks
