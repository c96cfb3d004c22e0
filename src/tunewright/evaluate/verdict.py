"""The verdict (promise N1): better, worse, or no evidence, in a sentence for people who do not read tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunewright import extensions
from tunewright.evaluate.score import metric_named
from tunewright.types import Comparison, Verdict
from tunewright.words import counted

LEVEL = 0.05
UNTOUCHED_BASE = "untouched_base"

SYSTEM_TITLES = {"tuned": "the tuned model", "few_shot": "the base shown examples", "ngram": "an n-gram model"}
METRIC_TITLES = {
    "macro_f1": "macro F1", "micro_f1": "micro F1", "weighted_f1": "weighted F1", "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC", "pr_auc": "PR AUC", "ece": "calibration error", "brier": "Brier score",
    "entity_f1": "span F1", "entity_macro_f1": "macro span F1",
    "nll_per_dialogue": "nats per dialogue", "bits_per_character": "bits per character",
}  # fmt: skip


def judge(
    comparisons: Sequence[Comparison], *, metric: str, num_rows: int, design: str = "", rows: str = "held-out rows"
) -> Verdict:
    """The verdict over the comparisons, of which the required ones decide.

    ``better`` only if every required comparison is won at 0.05 (two-sided, in the right direction) and the untouched
    base is among them; ``worse`` if one is lost; else ``no evidence``. ``rows`` names the judged rows in the
    sentence.
    """
    required = [each for each in comparisons if each.required]
    won = [each for each in required if is_won(each)]
    lost = [each for each in required if is_lost(each)]
    complete = any(each.against == UNTOUCHED_BASE for each in required) and len(required) > 1
    outcome: Literal["better", "worse", "no evidence"] = "no evidence"
    if lost:
        outcome = "worse"
    elif complete and len(won) == len(required):
        outcome = "better"
    deciding = lost or (required if outcome == "better" else [each for each in required if each not in won] or required)
    deciding = sorted(deciding, key=lambda each: each.against == UNTOUCHED_BASE)
    sentence = _sentence(outcome, deciding, num_rows, rows)
    if outcome == "no evidence":
        sentence += _why_open(deciding, complete, won)
    return Verdict(
        outcome=outcome, metric=metric, sentence=sentence + ".", design=design, comparisons=tuple(comparisons)
    )


def is_won(comparison: Comparison) -> bool:
    """Whether the tuned model is ahead of this opponent and the test at 0.05 says so."""
    return comparison.p < LEVEL and _gain(comparison) > 0


def is_lost(comparison: Comparison) -> bool:
    """Whether the tuned model is behind this opponent and the test at 0.05 says so."""
    return comparison.p < LEVEL and _gain(comparison) < 0


def judge_pair(comparison: Comparison, rows: str) -> tuple[Literal["better", "worse", "no evidence"], str]:
    """The outcome against one opponent alone, by the same test at 0.05, and the sentence; ``rows`` names the judged rows."""
    outcome: Literal["better", "worse", "no evidence"] = "no evidence"
    if is_won(comparison) or is_lost(comparison):
        outcome = "better" if is_won(comparison) else "worse"
    sentence = _sentence(outcome, [comparison], comparison.num_rows, rows)
    return outcome, sentence + (_why_open([comparison], True, []) if outcome == "no evidence" else "") + "."


def title_of(system: str) -> str:
    """How a system is called in a sentence."""
    if system in SYSTEM_TITLES:
        return SYSTEM_TITLES[system]
    if system not in extensions.names("evaluate.baseline"):
        return system
    return str(getattr(extensions.load("evaluate.baseline", system), "title", system))


def show_value(metric: str, value: float) -> str:
    """A value of the metric: ``85.0 %`` or ``0.812``."""
    return f"{100 * value:.1f} %" if metric_named(metric).is_percentage else f"{value:.3f}"


def show_difference(metric: str, difference: float, *, signed: bool = True) -> str:
    """A difference in the metric, without a unit: ``+5.6`` or ``+0.034``."""
    scale, digits = (100.0, 1) if metric_named(metric).is_percentage else (1.0, 3)
    rounded = round(scale * difference, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"


def show_p(p: float) -> str:
    """``p < 0.0001``, ``p = 0.013``, ``p = 0.42``."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _gain(comparison: Comparison) -> float:
    return comparison.difference if metric_named(comparison.metric).higher_is_better else -comparison.difference


def _sentence(outcome: str, deciding: Sequence[Comparison], num_rows: int, rows: str) -> str:
    noun, that, which = rows.partition(" that ")
    judged = counted(num_rows, noun.removesuffix("s")) + that + which
    if not deciding:
        return f"No evidence: there is nothing to compare with on {judged}"
    metric = deciding[0].metric
    title = METRIC_TITLES.get(metric, metric.replace("_", " "))
    against = " and ".join(_against(each) for each in deciding)
    lower = "" if metric_named(metric).higher_is_better else " (lower is better)"
    return (
        f"{outcome.capitalize()}: {show_value(metric, deciding[0].tuned)} {title}{lower} against {against}, on {judged}"
    )


def _against(comparison: Comparison) -> str:
    metric = comparison.metric
    low, high = (show_difference(metric, bound, signed=False) for bound in comparison.interval)
    unit = " points" if metric_named(metric).is_percentage else ""
    return (
        f"{show_value(metric, comparison.opponent)} for {title_of(comparison.against)} (difference "
        f"{show_difference(metric, comparison.difference)}{unit}, 95 % interval {low} to {high}, {show_p(comparison.p)})"
    )


def _why_open(deciding: Sequence[Comparison], complete: bool, won: Sequence[Comparison]) -> str:
    parts = []
    if deciding and any(each not in won for each in deciding):
        largest = max(deciding, key=lambda each: each.smallest_detectable)
        unit = " points" if metric_named(largest.metric).is_percentage else ""
        smallest = show_difference(largest.metric, largest.smallest_detectable, signed=False)
        parts.append(f"this test would have shown a difference of {smallest}{unit} or more")
    if not complete:
        parts.append("`better` needs a comparison with the untouched base and with one baseline")
    return "".join(f"; {part}" for part in parts)
