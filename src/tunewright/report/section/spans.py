"""How labelled spans go wrong: what each system found rightly, with another label, with other ends, missed, or made up."""

from __future__ import annotations

from tunewright.report.blocks import paragraph, section, share_bar, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.wording import system_name, whole

KINDS = ("right", "wrong label", "wrong ends", "missed", "surplus")
HEADS = ("Right", "Wrong label", "Wrong ends", "Missed", "Surplus")


def spans(result: Node) -> Markup:
    """The section of the kinds of errors; nothing for a model that answers otherwise."""
    found = result["figures"]["span_errors"].pairs()
    if not found:
        return Markup("")
    rows = []
    for name, counts in found:
        numbers = [counts[kind].number() or 0.0 for kind in KINDS]
        there = sum(numbers[:4])
        first = join((whole(numbers[0]), share_bar(numbers[0] / there if there else 0.0)))
        rows.append([datum(system_name(name), 60), first, *map(whole, numbers[1:])])
    marked = [index for index, (name, _) in enumerate(found) if name == "tuned"]
    note = paragraph(
        "Of the spans that are there: found with the right ends and label, with another label, touched with other ends, or ",
        element("b", "missed"),
        ". Surplus spans touch none that is there.",
    )
    heads = ["System", *HEADS]
    shown = table("Spans by how they were found", heads, rows, numeric=range(1, 6), class_="systems", marked=marked)
    return section("spans", "How spans go wrong", note, shown)
