"""Which labels are taken for which: a heat map up to 30 labels, a ranked list of pairs beyond."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.blocks import paragraph, section, share_bar, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.wording import percent, whole

Pair = tuple[str, str, float, float | None]
MAX_LABELS = 30
MAX_PAIRS = 25
WIDE_FROM = 9
# A cell's shade by its share of the row's rows; seven shades can be told apart.
SHADES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


def confusion(result: Node) -> Markup:
    """The section of the confusion matrix."""
    found = result["figures"]["confusion"]
    labels = [one.text() for one in found["labels"].items()]
    counts = [row.numbers() for row in found["counts"].items()]
    if labels and len(counts) == len(labels) and all(len(row) == len(labels) for row in counts):
        if len(labels) <= MAX_LABELS:
            return section("confusion", "What is taken for what", _matrix(labels, counts))
        return section("confusion", "What is taken for what", _pairs(_off_diagonal(labels, counts)))
    pairs = [
        (one["gold"].text(), one["answered"].text(), count, one["share"].number())
        for one in found["pairs"].items()
        if (count := one["count"].number()) and count > 0
    ]
    return section("confusion", "What is taken for what", _pairs(pairs) if found else None)


def shade(share: float) -> int:
    """The shade of a share of a row: 0 for none, then 1 to 7."""
    return 0 if share <= 0 else max(index for index, bound in enumerate(SHADES, 1) if share >= bound)


def _matrix(labels: Sequence[str], counts: Sequence[Sequence[float]]) -> Markup:
    wide = len(labels) >= WIDE_FROM
    heads = [
        element("th", element("span", datum(label, 30)), scope="col", class_="upright" if wide else None)
        for label in labels
    ]
    corner = element("td", element("small", "right label ↓ · answered →"))
    lines = []
    for index, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = sum(row)
        cells = [_cell(value, total, column == index) for column, value in enumerate(row)]
        recall = percent(row[index], total) if total else "–"
        lines.append(
            element(
                "tr", element("th", datum(label, 40), scope="row"), *cells, element("td", recall, class_="num recall")
            )
        )
    caption = "Rows by right label and by answer"
    grid = element(
        "table",
        element("caption", caption, class_="unseen"),
        element(
            "thead",
            element(
                "tr",
                corner,
                *heads,
                element("th", element("span", "recall"), scope="col", class_="upright" if wide else None),
            ),
        ),
        element("tbody", *lines),
        class_="heat wide" if wide else "heat",
    )
    note = "Each line holds the rows of one label; shaded by share. Blue: answered right. Red: answered wrong."
    return join(
        (
            paragraph(note, class_="quiet"),
            element("div", grid, class_="scroll", role="region", aria_label=caption, tabindex="0"),
        )
    )


def _cell(value: float, total: float, diagonal: bool) -> Markup:
    level = shade(value / total) if total > 0 else 0
    kind = "yes" if diagonal else "no"
    return element("td", whole(value) if value else element("span", "0", class_="nil"), class_=f"{kind}{level}")


def _off_diagonal(labels: Sequence[str], counts: Sequence[Sequence[float]]) -> list[Pair]:
    return [
        (gold, answered, value, value / sum(row))
        for i, (gold, row) in enumerate(zip(labels, counts, strict=True))
        for j, (answered, value) in enumerate(zip(labels, row, strict=True))
        if i != j and value > 0
    ]


def _pairs(pairs: Sequence[Pair]) -> Markup:
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    if not wrong:
        return paragraph("Every judged row was answered right.")
    ranked = sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))[:MAX_PAIRS]
    most = ranked[0][2]
    rows = [
        [
            datum(gold, 60),
            datum(answered, 60),
            join((whole(count), share_bar(count / most, "bar wrong"))),
            percent(share, 1) if share is not None else "",
        ]
        for gold, answered, count, share in ranked
    ]
    heads = ["Right label", "Answered", "Rows", "Of that label"]
    note = paragraph("The most frequent confusions, and their share of the rows of the right label.", class_="quiet")
    return join((note, table("Confused pairs of labels", heads, rows, numeric=(2, 3))))
