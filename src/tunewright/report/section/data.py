"""The data page: the account of every row, balance, lengths in tokens, files, and what the checks found."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.blocks import bullets, code, facts, fold, paragraph, part, section, share_bar, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node, in_order
from tunewright.report.privacy import Policy
from tunewright.report.svg import Axis, axis, bar, figure, plot, strip
from tunewright.report.wording import large, percent, whole
from tunewright.types import SPLITS
from tunewright.words import counted, size

OUTCOMES = (
    ("used", "used whole"),
    ("truncated", "cut to fit"),
    ("duplicate", "duplicate, left out"),
    ("rejected", "rejected"),
)

NUM_LABELS = 12
NUM_ORIGINS = 5
SEVERITIES = ("violation", "warning", "note")


def data(result: Node, policy: Policy) -> Markup:
    """The section of the data."""
    found = result["data"]
    return section(
        "data",
        "The data",
        _overview(found),
        part("What became of every row", _ledger(result["ledger"])),
        part("Labels in each split", *_balance(found)),
        _lengths(found),
        part("What the checks found", _findings(found["findings"].items(), policy)),
        part("Files", _files(found["files"].items())),
    )


def _overview(found: Node) -> Markup | None:
    splits = [(name, node.count()) for name, node in in_order(found["splits"].pairs(), SPLITS)]
    known = found["facts"]
    mean, long = known["mean_characters"].number(), known["p99_characters"].number()
    scripts = sorted(
        ((name, node.number() or 0.0) for name, node in known["scripts"].pairs()), key=lambda pair: -pair[1]
    )
    entries = [
        *((f"Rows, {name}", whole(count)) for name, count in splits if count is not None),
        ("Labels", whole(len(found["labels"].items())) if found["labels"].items() else ""),
        (
            "Characters a row",
            f"{whole(mean)} on average, {whole(long)} at the 99th percentile"
            if mean is not None and long is not None
            else "",
        ),
        ("Script", ", ".join(f"{name} {percent(share, 1)}" for name, share in scripts[:3] if share >= 0.0005)),
        ("Columns", ", ".join(f"{field} from “{column.text()}”" for field, column in found["columns"].pairs())),
    ]
    shown = facts((name, datum(value)) for name, value in entries if value)
    return shown or None


def _ledger(found: Node) -> Markup | None:
    counts = [(name, title, found[name].count()) for name, title in OUTCOMES]
    kept: list[tuple[str, str, int]] = [(name, title, count) for name, title, count in counts if count is not None]
    total = found["total"].count()
    if not kept or not total:
        return None
    x, bars = Axis(0, total, ()), []
    start = 0
    for name, _, count in kept:
        if count:
            bars.append(bar(x.at(start), "0%", x.share(start + count) - x.share(start), 100, f"fill {name}"))
        start += count
    says = ", ".join(f"{whole(count)} {title}" for _, title, count in kept) + f", of {counted(total, 'row')}"
    rows = [[join((_swatch(name), title)), whole(count), percent(count, total)] for name, title, count in kept]
    rows.append([element("b", "total"), element("b", whole(total)), "100 %"])
    agrees = (
        None
        if start == total
        else paragraph(f"These counts sum to {whole(start)}, not to {whole(total)}: please report it.", class_="alarm")
    )
    reasons = [
        [datum(reason, 200), whole(number)] for reason, node in found["reasons"].pairs() if (number := node.count())
    ]
    why = (
        fold("Why rows were rejected", table("Rejected rows by reason", ["Reason", "Rows"], reasons, numeric=(1,)))
        if reasons
        else None
    )
    listed = table("Outcome of every row", ["Outcome", "Rows", "Share"], rows, numeric=(1, 2), class_="ledger")
    return join((strip(bars, says=says, kind="strip stack"), listed, agrees, why))


def _swatch(class_: str) -> Markup:
    box = element("rect", width="12", height="12", class_=f"fill {class_}")
    return element("svg", box, width="12", height="12", class_="swatch", aria_hidden="true")


def _balance(found: Node) -> list[Markup | None]:
    counts = {
        split: {label: node.number() or 0.0 for label, node in pairs.pairs()}
        for split, pairs in found["label_counts"].pairs()
    }
    splits = [name for name in (*SPLITS, *(name for name in counts if name not in SPLITS)) if counts.get(name)]
    if not splits:
        return []
    first = counts[splits[0]]
    labels = sorted(
        {label for split in splits for label in counts[split]}, key=lambda label: (-first.get(label, 0.0), label)
    )
    totals = {split: sum(counts[split].values()) for split in splits}
    most = max(
        (count / totals[split] for split in splits for count in counts[split].values() if totals[split]), default=1.0
    )

    def line(label: str) -> list[str]:
        cells = [_count_cell(counts[split].get(label, 0.0), totals[split], most) for split in splits]
        return [datum(label, 80), *cells]

    heads, right = ["Label", *splits], range(1, len(splits) + 1)
    if len(labels) <= NUM_LABELS:
        return [
            table("Rows by label and split", heads, [line(label) for label in labels], numeric=right, class_="balance")
        ]
    half = NUM_LABELS // 2
    note = paragraph(
        f"The {half} most and the {half} least frequent of {whole(len(labels))} labels, by rows of the {splits[0]} split."
    )
    ends = table(
        "The most and least frequent labels",
        heads,
        [line(label) for label in (*labels[:half], *labels[-half:])],
        numeric=right,
        class_="balance",
    )
    every = table("Rows by label and split", heads, [line(label) for label in labels], numeric=right, class_="balance")
    return [note, ends, fold(f"All {whole(len(labels))} labels", every)]


def _count_cell(count: float, total: float, most: float) -> Markup:
    share = count / total if total else 0.0
    return join((whole(count), element("small", percent(count, total)), share_bar(share / most if most else 0.0)))


def _lengths(found: Node) -> Markup | None:
    counts: dict[float, float] = {}
    for edge, node in found["length_histogram"].pairs():
        if edge.isdecimal() and len(edge) < 12 and (count := node.count()):
            counts[float(edge)] = counts.get(float(edge), 0.0) + count
    if not counts:
        return None
    edges = sorted(counts)
    total = sum(counts.values())
    y = axis(counts.values(), zero=True, upward=True)
    every = -(-len(edges) // 8)
    x = Axis(0, len(edges), tuple((index + 0.5, whole(edge)) for index, edge in enumerate(edges) if index % every == 0))
    width = 100 / len(edges)
    marks = [
        bar(
            f"{index * width + width / 12:.2f}%",
            y.at(counts[edge]),
            width * 5 / 6,
            100 - y.share(counts[edge]),
            "fill series0",
        )
        for index, edge in enumerate(edges)
    ]
    says = "Rows by length in tokens: " + ", ".join(
        f"up to {whole(edge)}: {whole(counts[edge])}" for edge in edges[:40]
    )
    chart = figure(
        "Length in tokens",
        "Rows, by the upper end of each range",
        plot(x, y, marks, says=says, x_label="tokens, up to"),
    )
    rows = [[whole(edge), whole(counts[edge]), percent(counts[edge], total)] for edge in edges]
    listed = fold(
        "The lengths as a table", table("Rows by length", ["Tokens, up to", "Rows", "Share"], rows, numeric=(1, 2))
    )
    return join((element("div", chart, _cut(found), class_="charts"), listed))


def _cut(found: Node) -> Markup:
    longest, cut, tokens = found["max_length"].count(), found["tokens_cut"].count(), found["num_tokens"].count()
    entries = [
        ("Longest allowed", counted(longest, "token") if longest else ""),
        ("Tokens in all", large(tokens) if tokens else ""),
        (
            "Tokens cut off",
            f"{whole(cut)} ({percent(cut, cut + tokens)})" if cut and tokens else "none" if cut == 0 else "",
        ),
    ]
    return element("div", facts(entries))


def _findings(findings: Sequence[Node], policy: Policy) -> Markup | None:
    kept = [one for one in findings if one["message"] or one["code"]]
    kept.sort(
        key=lambda one: SEVERITIES.index(level) if (level := one["severity"].text()) in SEVERITIES else len(SEVERITIES)
    )
    return bullets([_finding(one, policy) for one in kept], "findings") or None


def _finding(one: Node, policy: Policy) -> Markup:
    severity = one["severity"].text()
    origins = [origin.text() for origin in one["origins"].items()]
    shown = [code(origin) for origin in origins[:NUM_ORIGINS]]
    more = f" and {whole(len(origins) - NUM_ORIGINS)} more" if len(origins) > NUM_ORIGINS else None
    tag = element("b", datum(severity or "note"), class_=f"tag {severity}" if severity in SEVERITIES else "tag")
    places = element("p", join(shown, ", "), more, class_="where") if shown else None
    named = element("small", " ", datum(one["code"].text())) if one["code"] else None
    return join((tag, " ", datum(policy.text(one["message"].text())), named, places))


def _files(files: Sequence[Node]) -> Markup | None:
    rows = []
    for one in files:
        notes = [datum(note.text()) for note in one["notes"].items() if note]
        named = join((code(one["path"].text()), element("small", join(notes, "; ")) if notes else None))
        kind = ", ".join(part for part in (one["format"].text(), one["encoding"].text()) if part)
        count, length = one["num_rows"].count(), one["num_bytes"].count()
        digest = one["sha256"].text()
        rows.append(
            [
                named,
                datum(kind),
                whole(count) if count is not None else "",
                size(length) if length is not None else "",
                code(digest[:16]) if digest else "",
            ]
        )
    return (
        table("Input files", ["File", "Format", "Rows", "Size", "SHA-256, first 16"], rows, numeric=(2, 3))
        if rows
        else None
    )
