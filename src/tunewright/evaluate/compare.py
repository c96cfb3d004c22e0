"""The tuned model against each opponent on the same rows, in one metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tunewright.errors import InputError
from tunewright.evaluate.metric._entities import count_spans
from tunewright.evaluate.metric.base import row_hits
from tunewright.evaluate.resample import (
    Observed,
    affordable_resamples,
    bootstrap,
    bootstrap_p,
    detectable_from,
    detectable_share,
    holm,
    mcnemar_p,
    percentile_interval,
    sign_flip_p,
)
from tunewright.evaluate.score import metric_named
from tunewright.types import Answer, Classified, Comparison, Likelihood, Preferred, Spans

if TYPE_CHECKING:
    from tunewright.types import Floats


def compare(
    tuned: Answer,
    opponents: Mapping[str, Answer],
    gold: Answer,
    metric: str,
    required: Collection[str],
    seed: int,
    *,
    num_resamples: int = 10_000,
    share: float = 1.0,
) -> tuple[Comparison, ...]:
    """One Comparison per opponent, in their order; ``required`` names those that decide the verdict.

    The deciding test is McNemar's exact test where the metric is a share of rows (accuracy), else the paired
    bootstrap, for likelihoods beside the sign-flip test of the rows, of which the larger p counts; the interval of the
    difference comes from the paired bootstrap in all cases. Holm's correction runs over all opponents. ``share`` below 1
    counts each row as that share of an independent one. Raises InputError where the metric is undefined for a system on
    these rows.
    """
    if not opponents:
        return ()
    scored = metric_named(metric)
    systems = (tuned, *opponents.values())
    observed = [Observed(scored, scored.observe(answer, gold)) for answer in systems]
    values = [_defined(each.metric.value(each.statistics), metric) for each in observed]
    samples = bootstrap(
        observed, affordable_resamples(min(num_resamples, scored.max_resamples), len(gold)), seed, share
    )
    merits = [_merit(answer, gold, is_share=scored.is_share_of_rows) for answer in systems]
    table = []
    for column in range(1, len(systems)):
        differences, merit = samples[:, 0] - samples[:, column], merits[0] - merits[column]
        counts = (int((merit > 0).sum()), int((merit < 0).sum()))
        p, test, smallest = _test(scored.is_share_of_rows, differences, *counts, len(gold), share)
        if isinstance(tuned, Likelihood):
            p = max(p, sign_flip_p(merit, len(differences), seed))
            test += "; sign-flip test of the rows"
        table.append((values[column], differences, sum(counts), p, test, smallest))
    corrected = holm([row[3] for row in table])
    return tuple(
        Comparison(
            against=name,
            metric=metric,
            tuned=values[0],
            opponent=value,
            difference=values[0] - value,
            interval=percentile_interval(differences) or (values[0] - value, values[0] - value),
            p=p,
            p_holm=p_holm,
            test=test,
            num_rows=len(gold),
            num_discordant=num_discordant,
            smallest_detectable=smallest,
            required=name in required,
        )
        for name, (value, differences, num_discordant, p, test, smallest), p_holm in zip(
            opponents, table, corrected, strict=True
        )
    )


def _merit(answer: Answer, gold: Answer, *, is_share: bool = False) -> Floats:
    """What each row does for its system: 1 where it is answered rightly, or minus its nats, or its wrong spans."""
    if isinstance(answer, Likelihood):
        return -answer.nll
    if isinstance(answer, Preferred):
        leads: Floats = (answer.margins > 0).astype(np.float64)
        return leads
    if isinstance(answer, Spans):
        assert isinstance(gold, Spans), type(gold)
        hits, answered, right = count_spans(answer, gold).sum(axis=2).T
        errors: Floats = answered + right - 2 * hits
        return (errors == 0).astype(np.float64) if is_share else -errors
    assert isinstance(answer, Classified), type(answer)
    assert isinstance(gold, Classified), type(gold)
    return row_hits(answer, gold).astype(np.float64)


def _test(
    is_share_of_rows: bool, differences: Floats, only_tuned: int, only_other: int, num_rows: int, share: float
) -> tuple[float, str, float]:
    """The p-value, the name of the test, and the smallest detectable difference."""
    counted = "" if share >= 1.0 else f", each row counted as {share:.2f}"
    resamples = f"{np.isfinite(differences).sum():,} resamples"
    if is_share_of_rows:
        p = mcnemar_p(only_tuned, only_other, share)
        smallest = detectable_share(only_tuned + only_other, num_rows, share)
        return p, f"exact McNemar{counted}; interval by paired bootstrap, {resamples}", smallest
    return bootstrap_p(differences), f"paired bootstrap, {resamples}{counted}", detectable_from(differences)


def _defined(value: float | None, metric: str) -> float:
    if value is None:
        raise InputError(
            "the metric is undefined on the judged rows",
            where="evaluate.metric",
            given=metric,
            allowed="a metric that has a value for every system on these rows",
            hint="evaluate.metric=auto",
        )
    return value
