"""What the numbers are: each metric with its interval, every system beside the tuned model, and the labels one by one."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.blocks import fold, paragraph, part, section, share_bar, table
from tunewright.report.markup import Markup, datum, element, join
from tunewright.report.node import Node
from tunewright.report.section.refusal import refusal
from tunewright.report.svg import Axis, segment, strip, unit_axis
from tunewright.report.wording import (
    LOWER_IS_BETTER,
    UNBOUNDED,
    UNDIRECTED,
    decimal,
    metric_name,
    metric_note,
    system_name,
    whole,
)
from tunewright.words import counted

FIRST_METRICS = (
    "accuracy",
    "in_scope_accuracy",
    "in_scope_refused",
    "out_of_scope_recall",
    "out_of_scope_auroc",
    "subset_accuracy",
    "macro_f1",
    "micro_f1",
    "roc_auc",
    "pr_auc",
    "mcc",
    "log_loss",
    "ece",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "nll_per_dialogue",
    "bits_per_character",
    "chrf",
    "rouge_l",
    "rouge_2",
    "stop_rate",
    "repetition",
    "length_ratio",
)
NUM_COLUMNS = 6
NUM_LABELS = 12


def metrics(result: Node) -> Markup:
    """The section of the numbers."""
    return section(
        "numbers",
        "What the numbers are",
        _measures(result),
        refusal(result),
        part("The tuned model and its opponents", *_systems(result)),
        part("Label by label", *_labels(result)),
        _thresholds(result),
    )


def _measures(result: Node) -> Markup | None:
    pairs = [(name, measure) for name, measure in result["metrics"].pairs() if measure["value"].number() is not None]
    if not pairs:
        return None
    names = _in_order([name for name, _ in pairs], result["verdict"]["metric"].text())
    pairs.sort(key=lambda pair: names.index(pair[0]))
    axis = unit_axis()
    rows = []
    for name, measure in pairs:
        value, span = measure["value"].number() or 0.0, measure["interval"].span()
        between = f"{decimal(span[0])} to {decimal(span[1])}" if span else "no interval"
        note = measure["note"].text() or metric_note(name)
        title = join((datum(metric_name(name), 60), element("small", datum(note)) if note else None))
        drawn = _whisker(axis, name, value, span, between)
        count = measure["num_rows"].count()
        rows.append(
            [
                title,
                drawn,
                element("b", decimal(value)),
                between,
                datum(measure["method"].text()),
                whole(count) if count else "",
            ]
        )
    heads = ["Metric", _unit_scale(), "Value", "95 % interval", "Interval by", "Rows"]
    return table("The tuned model's metrics with their intervals", heads, rows, numeric=(2, 3, 5), class_="measures")


def _unit_scale() -> Markup:
    ends = (("0%", "0", "tick"), ("50%", ".5", "tick mid"), ("100%", "1", "tick end"))
    marks = [element("text", label, x=x, y="100%", dy="-3", class_=class_) for x, label, class_ in ends]
    return strip(marks, says="Scale from 0 to 1", kind="scale low")


def _whisker(axis: Axis, name: str, value: float, span: tuple[float, float] | None, between: str) -> str:
    if name in UNBOUNDED or not 0 <= value <= 1:
        return ""
    marks = [segment(axis, 0, 1, "50%", "grid")]
    if span:
        marks.append(segment(axis, *span, "50%", "whisker tuned"))
    says = f"{metric_name(name)}: {decimal(value)}, {between}"
    needle = element("line", x1=axis.at(value), x2=axis.at(value), y1="28%", y2="72%", class_="needle")
    return strip([*marks, needle], says=says, kind="strip low")


def _systems(result: Node) -> list[Markup | None]:
    systems = result["systems"].pairs()
    if not systems:
        return []
    names = list(dict.fromkeys(name for _, scores in systems for name, _ in scores.pairs()))
    primary = result["verdict"]["metric"].text()
    names = _in_order(names, primary)
    few = names[:NUM_COLUMNS]
    judged = "out-of-fold rows" if result["judged_on"].text() == "out-of-fold" else "test rows"
    parts: list[Markup | None] = [
        paragraph(f"Every system answered the same {judged}. The best value of a column is set bold."),
        _grid(f"Every system on the {judged}", systems, few, primary),
    ]
    if len(names) > len(few):
        parts.append(
            fold(f"All {len(names)} metrics", _grid(f"Every system, every metric, {judged}", systems, names, primary))
        )
    if validation := result["validation"].pairs():
        note = "These rows chose the checkpoint, the thresholds and the strongest baseline; they do not decide the verdict."
        parts.append(
            fold(
                "The same on the validation rows",
                paragraph(note),
                _grid("Every system on validation rows", validation, few, primary),
            )
        )
    return parts


def _in_order(names: Sequence[str], primary: str) -> list[str]:
    """The metric that decides first, then the ones that most people look for, then the others as they come."""
    first = [name for name in dict.fromkeys((primary, *FIRST_METRICS)) if name in names]
    return first + [name for name in names if name not in first]


def _grid(caption: str, systems: Sequence[tuple[str, Node]], names: Sequence[str], primary: str) -> Markup:
    def rank(entry: tuple[str, Node]) -> tuple[bool, float]:
        value = entry[1][primary].number()
        sign = 1.0 if primary in LOWER_IS_BETTER else -1.0
        return entry[0] != "tuned", sign * value if value is not None else float("inf")

    ordered = sorted(systems, key=rank)
    best = {name: _best(name, [scores[name].number() for _, scores in ordered]) for name in names}
    rows = [
        [datum(system_name(system), 60), *(_score(scores[name].number(), best[name]) for name in names)]
        for system, scores in ordered
    ]
    marked = [index for index, (system, _) in enumerate(ordered) if system == "tuned"]
    heads = ["System", *(_head(name) for name in names)]
    return table(caption, heads, rows, numeric=range(1, len(names) + 1), class_="systems", marked=marked)


def _head(name: str) -> Markup:
    return join(
        (datum(metric_name(name), 40), element("small", "lower is better") if name in LOWER_IS_BETTER else None)
    )


def _best(name: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return None if len(known) < 2 or name in UNDIRECTED else min(known) if name in LOWER_IS_BETTER else max(known)


def _score(value: float | None, best: float | None) -> str:
    if value is None:
        return element("span", "–", aria_label="not defined", role="img")
    # Values that read the same are best together.
    return element("b", decimal(value)) if best is not None and decimal(value) == decimal(best) else decimal(value)


def _labels(result: Node) -> list[Markup | None]:
    labels = [(name, scores) for name, scores in result["per_label"].pairs() if scores.pairs()]
    if not labels:
        return []
    labels.sort(key=lambda entry: (entry[1]["f1"].number() is None, entry[1]["f1"].number() or 0.0))
    if len(labels) <= NUM_LABELS:
        return [_label_table(labels, "Precision, recall and F1 of every label")]
    weakest = _label_table(labels[:NUM_LABELS], f"The {NUM_LABELS} labels with the lowest F1")
    note = paragraph(f"The {NUM_LABELS} weakest of {whole(len(labels))} labels, by F1.")
    return [note, weakest, fold(f"All {whole(len(labels))} labels", _label_table(labels, "Every label"))]


def _label_table(labels: Sequence[tuple[str, Node]], caption: str) -> Markup:
    rows = []
    for name, scores in labels:
        cells = [_bar_and_number(scores[key].number()) for key in ("precision", "recall", "f1")]
        support = scores["support"].number()
        rows.append([datum(name, 80), *cells, whole(support) if support is not None else ""])
    return table(caption, ["Label", "Precision", "Recall", "F1", "Rows"], rows, numeric=(1, 2, 3, 4), class_="labels")


def _bar_and_number(value: float | None) -> str:
    return join((decimal(value), share_bar(value))) if value is not None else "–"


def _thresholds(result: Node) -> Markup | None:
    if result["out_of_scope"]:
        return None  # its one threshold is told in words
    pairs = [(name, value.number()) for name, value in result["thresholds"].pairs()]
    rows = [[datum(name, 80), decimal(value, 2)] for name, value in pairs if value is not None]
    if not rows:
        return None
    note = paragraph(
        "A label is given where its probability reaches its threshold. The thresholds were chosen on validation rows."
    )
    shown = table("Decision threshold of each label", ["Label", "Threshold"], rows, numeric=(1,))
    return fold(f"Decision thresholds ({counted(len(rows), 'label')})", note, shown)
