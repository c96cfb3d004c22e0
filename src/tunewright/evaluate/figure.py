"""What the report draws, as plain JSON, keyed on the kind of Classified.

    "roc", "pr"     {"curves": [{"label", "area", "x": [...], "y": [...]}, ...], "note"}   x, y in 0..1
    "confusion"     {"labels": [...], "counts": [[...]]}        rows: right label, columns: answer
                    or {"pairs": [{"gold", "answered", "count", "share"}]}   for more than 30 labels
    "reliability"   {"bins": [{"low", "high", "count", "confidence", "right"}]}
    "confidence"    {"edges": [...], "right": [...], "wrong": [...]}         counts per bin

A figure that needs probabilities is absent where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import indicators, row_hits
from tunewright.evaluate.metric.ece import NUM_BINS, bin_of
from tunewright.evaluate.score import metric_named
from tunewright.types import Classified, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats

MOST_POINTS = 200
MOST_CURVES = 10
NUM_WORST_CURVES = 5
MOST_MATRIX_LABELS = 30
MOST_PAIRS = 20
NUM_HISTOGRAM_BINS = 20


def draw_figures(answer: Classified, gold: Classified) -> dict[str, object]:
    """The data of every figure that fits the answers on the judged rows."""
    figures: dict[str, object] = {}
    if len(gold) == 0:
        return figures
    if isinstance(answer, Label) and isinstance(gold, Label):
        figures["confusion"] = count_confusions(answer, gold)
    if answer.probabilities is not None:
        figures["roc"] = draw_curves(answer, gold, "roc_auc")
        figures["pr"] = draw_curves(answer, gold, "pr_auc")
        confidence, right = _decisions(answer, gold)
        figures["reliability"] = {"bins": _reliability(confidence, right)}
        figures["confidence"] = _histogram(confidence, right)
    return figures


def draw_curves(answer: Classified, gold: Classified, area: str) -> dict[str, object]:
    """ROC (``roc_auc``) or precision-recall (``pr_auc``) curves of at most 200 points, one label against the rest.

    Two labels give one curve, that of the second; up to ten one each; more give their mean and the five of the
    smallest area.
    """
    metric = metric_named(area)
    areas = metric.per_label(metric.observe(answer, gold), np.ones((1, len(gold))))[0]
    right = indicators(gold)
    points = roc_points if area == "roc_auc" else pr_points
    defined = [int(c) for c in np.flatnonzero(np.isfinite(areas))]
    if isinstance(answer, Label) and len(gold.names) == 2:
        defined = defined[-1:]
    assert answer.probabilities is not None
    curves = {c: points(answer.probabilities[:, c], right[:, c]) for c in defined}
    shown = defined
    drawn: list[dict[str, object]] = []
    if len(defined) > MOST_CURVES:
        shown = sorted(defined, key=lambda c: (areas[c], c))[:NUM_WORST_CURVES]
        drawn.append(_curve("mean of all labels", float(areas[defined].mean()), *_mean_curve(list(curves.values()))))
    drawn += [_curve(gold.names[c], float(areas[c]), *curves[c]) for c in shown]
    note = (
        f"mean of {len(defined)} labels and the {len(shown)} of the smallest area" if len(shown) < len(defined) else ""
    )
    return {"curves": drawn, "note": note}


def roc_points(scores: Floats, right: Bools) -> tuple[Floats, Floats]:
    """False positive rate and true positive rate from (0, 0) to (1, 1), one point per distinct score."""
    positives, negatives = _cumulative(scores, right)
    return np.append(0.0, negatives / negatives[-1]), np.append(0.0, positives / positives[-1])


def pr_points(scores: Floats, right: Bools) -> tuple[Floats, Floats]:
    """Recall and precision from recall 0 on, one point per distinct score; the first precision is repeated at recall 0."""
    positives, negatives = _cumulative(scores, right)
    precision = positives / (positives + negatives)
    return np.append(0.0, positives / positives[-1]), np.append(precision[0], precision)


def count_confusions(answer: Label, gold: Label) -> dict[str, object]:
    """The confusion matrix, or the 20 most frequent confusions where there are more than 30 labels."""
    size = len(gold.names)
    counts = np.bincount(gold.chosen * size + answer.chosen, minlength=size * size).reshape(size, size)
    if size <= MOST_MATRIX_LABELS:
        return {"labels": list(gold.names), "counts": counts.tolist()}
    support = counts.sum(axis=1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong.ravel(), kind="stable")[:MOST_PAIRS]
    pairs = [(int(cell) // size, int(cell) % size) for cell in order if wrong.flat[cell] > 0]
    return {
        "pairs": [
            {
                "gold": gold.names[g],
                "answered": gold.names[a],
                "count": int(counts[g, a]),
                "share": float(counts[g, a] / support[g]),
            }
            for g, a in pairs
        ]
    }


def _cumulative(scores: Floats, right: Bools) -> tuple[Floats, Floats]:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    positives = np.cumsum(right[order])[last].astype(np.float64)
    return positives, (last + 1) - positives


def _mean_curve(curves: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    grid = np.linspace(0.0, 1.0, MOST_POINTS)
    mean: Floats = np.mean([np.interp(grid, x, y) for x, y in curves], axis=0)
    return grid, mean


def _curve(label: str, area: float, x: Floats, y: Floats) -> dict[str, object]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(MOST_POINTS, len(x))).round().astype(np.int64))
    return {"label": label, "area": area, "x": _rounded(x[kept]), "y": _rounded(y[kept])}


def _decisions(answer: Classified, gold: Classified) -> tuple[Floats, Bools]:
    """Confidence and rightness of the most probable label per row, or of every yes-or-no decision."""
    assert answer.probabilities is not None
    if isinstance(answer, Labels):
        likely = answer.probabilities >= 0.5
        confidence = np.where(likely, answer.probabilities, 1.0 - answer.probabilities)
        return confidence.ravel(), (likely == gold.chosen).ravel()
    most = Label(answer.names, answer.probabilities.argmax(axis=1))
    return answer.probabilities.max(axis=1), row_hits(most, gold)


def _reliability(confidence: Floats, right: Bools) -> list[dict[str, float | int | None]]:
    bins = bin_of(confidence)
    table: list[dict[str, float | int | None]] = []
    for index in range(NUM_BINS):
        inside = bins == index
        count = int(inside.sum())
        table.append(
            {
                "low": index / NUM_BINS,
                "high": (index + 1) / NUM_BINS,
                "count": count,
                "confidence": float(confidence[inside].mean()) if count else None,
                "right": float(right[inside].mean()) if count else None,
            }
        )
    return table


def _histogram(confidence: Floats, right: Bools) -> dict[str, object]:
    edges = np.linspace(0.0, 1.0, NUM_HISTOGRAM_BINS + 1)
    counts = {
        name: np.histogram(np.clip(confidence[rows], 0.0, 1.0), edges)[0].tolist()
        for name, rows in (("right", right), ("wrong", ~right))
    }
    return {"edges": _rounded(edges), **counts}


def _rounded(numbers: Floats) -> list[float]:
    return [round(float(number), 5) for number in numbers]
