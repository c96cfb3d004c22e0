"""The worst errors: the rows that were answered wrong with the most confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunewright.report.blocks import fold, paragraph, section
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.privacy import Policy
from tunewright.report.wording import decimal
from tunewright.words import counted

NUM_OPEN = 8
MAX_CHARACTERS = 700


def wrong(result: Node, policy: Policy) -> Markup:
    """The section of the wrong rows, as far as the policy lets them be shown."""
    if policy.rows == "none":
        note = (
            "This run keeps its rows to itself (report.rows: none)." if result["errors"] or result["figures"] else None
        )
        return section("errors", "Worst errors", paragraph(note, class_="quiet") if note else None)
    given = [one.value for one in result["errors"].items() if isinstance(one.value, Mapping)]
    rows = [Node(error) for error in policy.select(given)]
    if not rows:
        return Markup("")
    first, rest = rows[:NUM_OPEN], rows[NUM_OPEN:]
    hidden = counted(len(rest), "more row")
    return section(
        "errors",
        "Worst errors",
        _note(rows, policy),
        _list(first),
        fold(hidden, _list(rest, len(first) + 1)) if rest else None,
    )


def _note(rows: Sequence[Node], policy: Policy) -> Markup:
    parts = [
        f"{counted(len(rows), 'row')} answered wrong, the most confident first. Some may be right, and their labels wrong."
    ]
    if policy.rows == "ids":
        parts.append(" Only where they stand is shown (report.rows: ids).")
    elif policy.masked:
        parts.append(" E-mail addresses, phone, card, account and identity numbers and IP addresses are masked.")
    else:
        parts.append(" The texts are shown as they are, unmasked (report.mask: false).")
    return paragraph(*parts, class_="quiet")


def _list(rows: Sequence[Node], start: int = 1) -> Markup:
    return element("ol", *map(_row, rows), class_="errors", start=start if start > 1 else None)


def _row(row: Node) -> Markup:
    text, confidence = row["text"].text(), row["confidence"].number()
    gold, answered = _label(row["gold"]), _label(row["answered"])
    where = " · ".join(
        part for part in (row["origin"].text(), f"row {row['id'].text()}" if row["id"].text() else "") if part
    )
    verdict = element(
        "p",
        element("span", "answered ", element("b", answered, class_="bad")),
        element("span", "right is ", element("b", gold, class_="good")),
        element("span", "confidence ", element("b", decimal(confidence, 2))) if confidence is not None else None,
        class_="answer",
    )
    return element(
        "li", verdict, _quote(text), element("p", element("code", datum(where)), class_="where") if where else None
    )


def _quote(text: str) -> Markup | None:
    if not text:
        return None
    cut = element("small", f" … {counted(len(text), 'character')} in all") if len(text) > MAX_CHARACTERS else None
    return element("blockquote", join((datum(text[:MAX_CHARACTERS]), cut)))


def _label(node: Node) -> Markup:
    return datum(node.text(), 120) if node.text() else element("i", "no label")
