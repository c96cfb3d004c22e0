"""What the metrics share: sums of per-row statistics, and ranks over per-row scores.

A metric turns N answers into statistics[N, K] once. After that every resample of the rows is a matrix product
(additive metrics) or a weighted scan in a fixed order (rank metrics), so that a bootstrap of thousands of resamples
takes seconds.

    N rows, C labels, K statistics, B resamples

Undefined is None (NaN inside arrays), never 0. Which labels a macro average covers is said at ``covered``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tunewright.types import Classified, Label, Labels

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats


class MetricBase:
    """The facts that every metric states about itself, and the plain ``value`` from the batched one."""

    accepts: tuple[type, ...] = (Label, Labels)
    description: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    is_percentage: ClassVar[bool] = True
    is_share_of_rows: ClassVar[bool] = False
    best_value: ClassVar[float | None] = None
    """The best value, where neither direction is better without end; ``higher_is_better`` says nothing then."""

    depends_on_threshold: ClassVar[bool] = True
    max_resamples: ClassVar[int] = 10_000

    def values(self, statistics: Floats, weights: Floats) -> Floats:
        """The metric under each of B weightings: weights[B, N] -> values[B], NaN where it is undefined."""
        raise NotImplementedError

    def num_rows(self, statistics: Floats) -> int:
        """How many rows stand behind the value."""
        return len(statistics)

    def value(self, statistics: Floats, weights: Floats | None = None) -> float | None:
        """The metric over statistics[N, K], each row counted weights[n] times; None where it is undefined."""
        if len(statistics) == 0:
            return None
        once = np.ones(len(statistics)) if weights is None else weights
        result = float(self.values(statistics, once[np.newaxis, :])[0])
        return result if np.isfinite(result) else None


class AdditiveMetric(MetricBase):
    """A metric that is a function of the column sums of its statistics."""

    def values(self, statistics: Floats, weights: Floats) -> Floats:
        """The metric under each weighting[B, N], by one matrix product."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.combine(weights @ statistics)

    def combine(self, totals: Floats) -> Floats:
        """Column sums[B, K] -> values[B], NaN where undefined."""
        raise NotImplementedError


class MeanMetric(AdditiveMetric):
    """A mean over the rows: statistics are (number, 1) per row."""

    def combine(self, totals: Floats) -> Floats:
        """Sum over count."""
        result: Floats = totals[..., 0] / totals[..., 1]
        return result


class ShareOfScope(MeanMetric):
    """A share of the rows that are in scope, or of those that are not: statistics are (counts, is one of these) per row.

    Undefined where no label stands for what is out of scope.
    """

    accepts = (Label,)

    def num_rows(self, statistics: Floats) -> int:
        """The rows of which it is a share."""
        return int(statistics[:, 1].sum())


class CountMetric(AdditiveMetric):
    """A metric of three counts per label: rows where it was answered rightly, answered at all, and right at all."""

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """Indicators[N, 3C]: hit, answered, right."""
        answered, right = indicators(answer), indicators(gold)
        return np.concatenate([answered & right, answered, right], axis=1).astype(np.float64)

    def combine(self, totals: Floats) -> Floats:
        """Split the sums into the three blocks and ask ``from_counts``."""
        hits, answered, right = np.split(totals, 3, axis=-1)
        return self.from_counts(hits, answered, right)

    def from_counts(self, hits: Floats, answered: Floats, right: Floats) -> Floats:
        """Counts[B, C] each -> values[B]."""
        raise NotImplementedError


class RankMetric(MetricBase):
    """A macro average over the labels, one against the rest, of a number that depends on the order of the scores.

    statistics[N, 2C] hold the probabilities and the right labels. A label that has no row, or no row without it, in a
    resample is undefined there and left out of that average.
    """

    depends_on_threshold = False
    max_resamples = 2_000

    def observe(self, answer: Classified, gold: Classified) -> Floats:
        """Probabilities and 0/1 right labels, side by side; NaN where the answer has no probabilities."""
        right = indicators(gold).astype(np.float64)
        return np.concatenate([probabilities_of(answer), right], axis=1)

    def values(self, statistics: Floats, weights: Floats) -> Floats:
        """The mean over the labels that are defined, under each weighting[B, N]."""
        if np.isnan(statistics).any():
            return np.full(len(weights), np.nan)
        return mean_of_defined(self.per_label(statistics, weights))

    def per_label(self, statistics: Floats, weights: Floats) -> Floats:
        """values[B, C] of each label against the rest, NaN where undefined."""
        scores, right = np.split(statistics, 2, axis=1)
        columns = range(scores.shape[1])
        turned = np.ascontiguousarray(weights.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(
                [self.from_ranks(*_sum_ranks(scores[:, c], right[:, c] > 0, turned)) for c in columns], axis=1
            )

    def from_ranks(self, positive: Floats, negative: Floats) -> Floats:
        """Weights[G, B] of the rows with and without the label per group of equal rank, best first -> values[B]."""
        raise NotImplementedError


class RocMetric(RankMetric):
    """Area under the ROC curve as a rank statistic (Hanley & McNeil 1982, section III): ties count one half."""

    is_percentage = False

    def from_ranks(self, positive: Floats, negative: Floats) -> Floats:
        """Sum over groups of positive * (negatives below + half the negatives tied) / (positives * negatives)."""
        all_negative = negative.sum(axis=0)
        below = all_negative - np.cumsum(negative, axis=0)
        result: Floats = (positive * (below + 0.5 * negative)).sum(axis=0) / (positive.sum(axis=0) * all_negative)
        return result


def _sum_ranks(scores: Floats, right: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """Weights[N, B] summed per group of equal score, best first: rows with the label[G, B] and without it[G, B].

    Neighbouring groups without any row that has the label are one group: neither area changes inside such a stretch. A sparse
    product does the sums, so that a rare label costs no more than reading the weights once.
    """
    from scipy.sparse import csr_array

    order = np.argsort(-scores, kind="stable")
    tie = np.cumsum(np.diff(scores[order], prepend=np.inf) != 0) - 1
    with_label = np.bincount(tie, weights=right[order]) > 0
    opens = with_label | np.append(True, with_label[:-1])
    group = (np.cumsum(opens) - 1)[tie]
    num_groups = int(group[-1]) + 1
    cell = 2 * group + ~right[order]
    summed = csr_array((np.ones(len(cell)), (cell, order)), shape=(2 * num_groups, len(cell))) @ weights
    return summed[0::2], summed[1::2]


def indicators(answer: Classified) -> Bools:
    """Which labels each row chose: bool[N, C]."""
    if isinstance(answer, Labels):
        return answer.chosen
    result: Bools = answer.chosen[:, np.newaxis] == np.arange(len(answer.names))
    return result


def probabilities_of(answer: Classified) -> Floats:
    """The probabilities[N, C], or NaN of that shape where the answer carries none."""
    if answer.probabilities is None:
        return np.full((len(answer), len(answer.names)), np.nan)
    return answer.probabilities


def is_in_scope(gold: Label) -> Bools:
    """Which rows[N] belong to a label other than the one for what is out of scope; none where there is no such label."""
    if gold.out_of_scope is None:
        return np.zeros(len(gold), dtype=np.bool_)
    return ~is_refused(gold, gold)


def is_refused(answer: Label, gold: Label) -> Bools:
    """Which rows[N] of the answer have the gold's label for what is out of scope; none where there is no such label."""
    index = -1 if gold.out_of_scope is None else gold.names.index(gold.out_of_scope)
    result: Bools = answer.chosen == index
    return result


def in_scope_scores(answer: Label, out_of_scope: str) -> Floats:
    """The probability[N] of the likeliest label that is in scope, by which a row is told from those that are not.

    The maximum softmax probability of Hendrycks & Gimpel 2017, section 2, over the labels in scope. NaN without probabilities.
    """
    others = np.arange(len(answer.names)) != answer.names.index(out_of_scope)
    result: Floats = probabilities_of(answer)[:, others].max(axis=1)
    return result


def row_hits(answer: Classified, gold: Classified) -> Bools:
    """Which rows are answered entirely rightly: bool[N]."""
    if isinstance(answer, Labels):
        result: Bools = (answer.chosen == gold.chosen).all(axis=1)
        return result
    same: Bools = answer.chosen == gold.chosen
    return same


def mean_statistics(numbers: Floats | Bools) -> Floats:
    """numbers[N] as the statistics of a mean: (number, 1) per row."""
    return np.stack([np.asarray(numbers, dtype=np.float64), np.ones(len(numbers))], axis=1)


def covered(answered: Floats, right: Floats) -> Bools:
    """The labels of the schema that a macro average covers: those with a right row or an answered row.

    A label of the schema that occurs in neither is undefined and left out, which is scikit-learn's default; a label
    that is only answered, always wrongly, counts as 0.
    """
    result: Bools = (answered + right) > 0
    return result


def precision(hits: Floats, answered: Floats, right: Floats) -> Floats:
    """hits / answered per label; 0 for a label that has rows and is never answered, NaN for one that occurs nowhere."""
    return np.where(covered(answered, right), hits / np.maximum(answered, 1e-300), np.nan)


def recall(hits: Floats, answered: Floats, right: Floats) -> Floats:  # noqa: ARG001 - called like its siblings
    """hits / right per label; NaN for a label without right rows."""
    return np.where(right > 0, hits / np.maximum(right, 1e-300), np.nan)


def f1(hits: Floats, answered: Floats, right: Floats) -> Floats:
    """Harmonic mean of precision and recall, 2 hits / (answered + right); NaN for a label that occurs nowhere."""
    return np.where(covered(answered, right), 2.0 * hits / np.maximum(answered + right, 1e-300), np.nan)


def mean_of_defined(numbers: Floats) -> Floats:
    """numbers[..., C] -> the mean over the labels where it is defined; NaN where it is nowhere."""
    defined = np.isfinite(numbers)
    result: Floats = np.where(defined, numbers, 0.0).sum(axis=-1) / np.where(defined.any(-1), defined.sum(-1), np.nan)
    return result


def weighted_by_support(numbers: Floats, right: Floats) -> Floats:
    """numbers[..., C] averaged by the number of right rows; NaN where there is none."""
    result: Floats = np.where(right > 0, numbers * right, 0.0).sum(axis=-1) / right.sum(axis=-1)
    return result


def total(counts: Floats) -> Floats:
    """counts[..., C] -> [..., 1]: all labels thrown together, for micro averages."""
    result: Floats = counts.sum(axis=-1, keepdims=True)
    return result
