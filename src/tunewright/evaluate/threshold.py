"""Decision thresholds for rare labels, and the limit under which texts are refused: chosen on the validation rows.

A threshold is a number for a label, and its meaning follows from the answer. Where one label stands for what is out of scope
(``Label.out_of_scope``), there is one number, for that label: a text is refused where that label is the most probable one, or
where no other label is as probable as the number. Else a label is given where it is as probable as its number.

The judged rows are never an argument here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunewright.evaluate.metric.base import in_scope_scores, is_in_scope, is_refused
from tunewright.evaluate.score import metric_named
from tunewright.types import Choice, Classified, Label, Labels
from tunewright.words import counted

if TYPE_CHECKING:
    from tunewright.types import Bools, Floats

RARE = 0.3
"""Two labels get a threshold when the rarer one has less than this share of the validation rows."""

FEWEST_ROWS = 5
"""A label with fewer rows (or fewer rows without it) than this keeps 0.5: the optimum of so few is noise."""

MOST_CANDIDATES = 200
DEFAULT = 0.5
PATH = "evaluate.decision_thresholds"


def choose_thresholds(
    answer: Classified, gold: Classified, metric: str, refuse_share: float
) -> tuple[dict[str, float], Choice]:
    """Thresholds by label from the validation rows, and why; empty where the most probable label is answered.

    A label for what is out of scope: the limit of ``choose_limit``. Else, two labels: one threshold on the probability of the
    second label, the one that is best for ``metric``, if the rarer label has under 30 % of the rows or the metric is an F1.
    Several labels per row: for each label the one with the best F1. Of equally good thresholds the one nearest to 0.5 is
    taken (the lower of two), so that ties and flat optima change nothing.
    """
    if isinstance(gold, Label) and gold.out_of_scope is not None:
        assert isinstance(answer, Label)
        chosen, reason = choose_limit(answer, gold, refuse_share)
    else:
        chosen, reason = _decide(answer, gold, metric)
    return chosen, Choice(PATH, chosen or "none", reason)


def apply_thresholds(answer: Classified, thresholds: Mapping[str, float]) -> Classified:
    """The answer with its labels chosen by ``thresholds``; unchanged where there are none or no probabilities."""
    if not thresholds or answer.probabilities is None:
        return answer
    if isinstance(answer, Label) and answer.out_of_scope is not None:
        refused = in_scope_scores(answer, answer.out_of_scope) < thresholds[answer.out_of_scope]
        return replace(answer, chosen=np.where(refused, answer.names.index(answer.out_of_scope), answer.chosen))
    if isinstance(answer, Labels):
        limits = np.array([thresholds.get(name, DEFAULT) for name in answer.names])
        return Labels(answer.names, answer.probabilities >= limits, answer.probabilities)
    limit = thresholds[answer.names[1]]
    return Label(answer.names, (answer.probabilities[:, 1] >= limit).astype(np.int64), answer.probabilities)


def best_f1_threshold(scores: Floats, right: Bools) -> float:
    """The threshold on scores[N] with the best F1 for right[N], among 0.5 and the midpoints between scores."""
    candidates = _candidates(scores, most=len(scores) + 1)
    order = np.sort(scores)
    answered = len(scores) - np.searchsorted(order, candidates, side="left")
    hits = int(right.sum()) - np.searchsorted(np.sort(scores[right]), candidates, side="left")
    quality = 2.0 * hits / np.maximum(answered + int(right.sum()), 1)
    return _nearest_best(candidates, quality)


def choose_limit(answer: Label, gold: Label, refuse_share: float) -> tuple[dict[str, float], str]:
    """The limit on the probability of the likeliest label in scope, under which a text is refused, and why.

    Of the n validation rows in scope at most ``refuse_share`` are refused for being under it; those whose most probable label
    is the one out of scope are refused without it and count as above it. It is the r-th smallest of the n scores, with
    r = floor(refuse_share (n + 1)), so that the same share holds on average for new rows in scope of the same kind (split
    conformal, Vovk et al. 2005; Lei et al. 2018, section 2.2), rounded down to six decimals. None where r is 0, or where the
    r-th row is refused without it.
    """
    assert gold.out_of_scope is not None
    inside, already = is_in_scope(gold), is_refused(answer, gold)
    num_rows = int(inside.sum())
    rank = math.floor(refuse_share * (num_rows + 1) + 1e-9)
    if answer.probabilities is None or not num_rows:
        return {}, "there are no probabilities on validation rows in scope to choose from"
    scores = np.where(already, np.inf, in_scope_scores(answer, gold.out_of_scope))
    least = np.sort(scores[inside])[rank - 1] if rank else np.inf
    if not np.isfinite(least):
        why = f"{(inside & already).sum():,} have it as the likeliest label" if rank else "too few to set a limit by"
        return (
            {},
            f"no limit refuses {100 * refuse_share:.3g} % of {counted(num_rows, 'validation row')} in scope: {why}",
        )
    limit = math.floor(least * 1e6) / 1e6
    under = scores < limit
    parts = [
        f"{(rows & under).sum():,} of {rows.sum():,} {where} scope are, and {(rows & already).sum():,} are refused anyway"
        for where, rows in (("in", inside), ("out of", ~inside))
    ]
    reason = f"at most {100 * refuse_share:.3g} % of the validation rows in scope may be under this limit: {'; '.join(parts)}"
    return {gold.out_of_scope: limit}, reason


def _decide(answer: Classified, gold: Classified, metric: str) -> tuple[dict[str, float], str]:
    if answer.probabilities is None or len(gold) == 0:
        return {}, "there are no probabilities on validation rows to choose from"
    if not metric_named(metric).depends_on_threshold:
        return {}, f"{metric} does not depend on a threshold"
    if isinstance(answer, Labels):
        assert isinstance(gold, Labels)
        return _by_label(answer.probabilities, gold)
    if len(gold.names) != 2:
        return {}, "the most probable label is answered"
    assert isinstance(gold, Label)
    num_second = int((gold.chosen == 1).sum())
    rarer = min(num_second, len(gold) - num_second)
    if rarer >= RARE * len(gold) and not metric.endswith("f1"):
        return {}, f"both labels are common: the rarer has {rarer:,} of {len(gold):,} validation rows"
    if rarer < FEWEST_ROWS:
        return {}, f"only {rarer} validation rows have the rarer label, at least {FEWEST_ROWS} are needed to choose"
    limit = _best_for(answer, gold, metric)
    before, after = (_quality(answer, gold, metric, each) for each in (DEFAULT, limit))
    if limit == DEFAULT:
        return {}, f"no threshold gives a better {metric} on the validation rows than 0.5"
    return {gold.names[1]: limit}, (
        f"{metric} on {len(gold):,} validation rows goes from {before:.3f} to {after:.3f}; "
        f"the rarer label has {rarer:,} of them"
    )


def _by_label(scores: Floats, gold: Labels) -> tuple[dict[str, float], str]:
    chosen = {}
    for column, name in enumerate(gold.names):
        right = gold.chosen[:, column]
        if FEWEST_ROWS <= right.sum() <= len(right) - FEWEST_ROWS:
            chosen[name] = best_f1_threshold(scores[:, column], right)
    moved = {name: limit for name, limit in chosen.items() if limit != DEFAULT}
    if not moved:
        return {}, "no label has a better threshold on the validation rows than 0.5"
    kept = len(gold.names) - len(moved)
    return (
        moved,
        f"best F1 of each label on {counted(len(gold), 'validation row')}; {kept} of {len(gold.names)} labels keep 0.5",
    )


def _best_for(answer: Label, gold: Label, metric: str) -> float:
    assert answer.probabilities is not None
    candidates = _candidates(answer.probabilities[:, 1], MOST_CANDIDATES)
    sign = 1.0 if metric_named(metric).higher_is_better else -1.0
    return _nearest_best(candidates, np.array([sign * _quality(answer, gold, metric, limit) for limit in candidates]))


def _quality(answer: Label, gold: Label, metric: str, limit: float) -> float:
    scored = metric_named(metric)
    value = scored.value(scored.observe(apply_thresholds(answer, {answer.names[1]: limit}), gold))
    return -np.inf if value is None else float(value)


def _candidates(scores: Floats, most: int) -> Floats:
    """0.5 and the midpoints between neighbouring scores, ascending, thinned to ``most`` at equal distances of rank.

    None of the midpoints gives all rows or no row the label.
    """
    distinct = np.unique(scores)
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(middles) > most:
        middles = middles[np.linspace(0, len(middles) - 1, most).round().astype(np.int64)]
    return np.unique(np.append(middles, DEFAULT))


def _nearest_best(candidates: Floats, quality: Floats) -> float:
    best = candidates[quality >= quality.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - DEFAULT))])
