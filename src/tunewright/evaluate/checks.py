"""The verdict for text (promise N1), all of its rule in one place.

The likelihood of the held-out answers decides whether the tuned model *predicts* better: it uses every test dialogue, has no
noise of sampling, and is the same question for every system, also for one that cannot generate. But likelihood does not see
what a person meets: a model can predict well and yet never stop, loop, ramble, or have forgotten everything else. So

    better        the likelihood test at 0.05 is won against the untouched base and against the baseline that was strongest on
                  validation, and every check below passes
    worse         that test is lost to either, or the answers agree less with the references than the base's (chrF, at 0.05)
    no evidence   otherwise; the sentence says which part failed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunewright.evaluate.resample import Observed, bootstrap, percentile_interval
from tunewright.evaluate.score import metric_named
from tunewright.evaluate.verdict import is_won, judge, title_of
from tunewright.types import Check, Comparison, Text, Verdict

if TYPE_CHECKING:
    from tunewright.evaluate.config import Evaluate

FEWEST_ANSWERS = 10

REPETITION_MARGIN = 0.02
"""More repetition than in the references by this much fails: two answers in a hundred that do nothing but loop."""

LENGTH_BAND = (0.5, 2.0)
"""All answers together may be half to twice as long as the references: beyond, it is another kind of answer."""

CHRF_MARGIN = 0.02
"""Not worse means: two points of chrF less than the other model are ruled out at 0.05 (non-inferiority, ICH E9 section 3.3.2)."""

TITLES = {
    "rouge_l_lead": "ROUGE-L against the first sentences", "rouge_l_copy_source": "ROUGE-L against the source",
    "answers": "answers", "stop_rate": "stop rate", "repetition": "repetition", "length_ratio": "length",
    "chrf_difference": "chrF", "retention_en": "retention (English)", "retention_zh": "retention (Chinese)",
}  # fmt: skip
PERCENTAGES = frozenset({"stop_rate", "repetition"})


def check_answers(
    config: Evaluate.Config, tuned: Text | None, base: Text | None, gold: Text
) -> tuple[tuple[Check, ...], bool]:
    """The checks of the generated answers, and whether they agree less with the references than the untouched base's."""
    enough = _check_number(0 if tuned is None else len(tuned))
    if tuned is None or not enough.passed:
        return (enough,), False
    checks = [enough, _check_stop(config, tuned, gold), _check_repetition(tuned, gold), _check_length(tuned, gold)]
    is_behind = False
    if base is not None:
        agreed, is_behind = _check_chrf(config, tuned, base, gold, "the untouched base")
        checks.append(agreed)
    return tuple(checks), is_behind


def check_against(config: Evaluate.Config, tuned: Text, rival: Text, gold: Text, name: str) -> tuple[Check, ...]:
    """The checks of the generated answers beside those of a rival of this name: enough of them, and chrF is not lost."""
    enough = _check_number(len(tuned))
    return (enough, _check_chrf(config, tuned, rival, gold, name)[0]) if enough.passed else (enough,)


def check_going_on(tuned: Text | None, gold: Text) -> tuple[Check, ...]:
    """The check of texts that were gone on with: they need not end, nor be what somebody else wrote, but not loop either."""
    return () if tuned is None or len(tuned) < FEWEST_ANSWERS else (_check_repetition(tuned, gold),)


def check_copies(
    config: Evaluate.Config, tuned: Text | None, copies: Mapping[str, Text], gold: Text
) -> tuple[Check, ...]:
    """For each system that only copies from the source: the tuned model's ROUGE-L is not lost to it."""
    if tuned is None or len(tuned) < FEWEST_ANSWERS:
        return ()
    found = []
    for name, copy in copies.items():
        check, _ = _check_margin(config, "rouge_l", (tuned, copy, gold), title_of(name))
        found.append(replace(check, name=f"rouge_l_{name}"))
    return tuple(found)


def name_checks(checks: Sequence[Check]) -> str:
    """The checks with their values and limits, for a sentence."""
    return ", ".join(f"{TITLES.get(each.name, each.name)} ({show_check(each)}, needed {each.limit})" for each in checks)


def judge_text(
    comparisons: Sequence[Comparison],
    checks: Sequence[Check],
    is_behind: bool,
    *,
    num_rows: int,
    design: str,
    rows: str = "dialogues",
) -> Verdict:
    """The verdict from the comparisons in likelihood, the checks, and whether chrF was lost to the untouched base.

    ``rows`` is what the judged rows are called.
    """
    metric = comparisons[0].metric if comparisons else "nll_per_dialogue"
    likely = judge(comparisons, metric=metric, num_rows=num_rows, design=design, rows=f"held-out {rows}")
    failed = [check for check in checks if not check.passed]
    outcome: Literal["better", "worse", "no evidence"] = likely.outcome
    if is_behind:
        outcome = "worse"
    elif failed and outcome == "better":
        outcome = "no evidence"
    numbers = likely.sentence.partition(": ")[2]
    told = f"its own answers pass all {len(checks)} checks" if checks else "nothing else was checked"
    if failed:
        told = f"what it generates fails {name_checks(failed)}"
    joint = "and"
    if likely.outcome == "better":
        joint = "but" if failed else "and"
    elif not failed:
        joint = "although"
    return Verdict(
        outcome=outcome,
        metric=metric,
        sentence=f"{outcome.capitalize()}: {_predicts(likely)}, {joint} {told}. It needs {numbers}",
        design=design,
        comparisons=tuple(comparisons),
        checks=tuple(checks),
    )


def _predicts(likely: Verdict) -> str:
    """What the likelihood shows: also the opponents that were beaten where others were not."""
    if likely.outcome != "no evidence":
        return f"the tuned model predicts held-out answers {likely.outcome}"
    required = [each for each in likely.comparisons if each.required]
    beaten = [title_of(each.against) for each in required if is_won(each)]
    others = [title_of(each.against) for each in required if not is_won(each)]
    if not beaten:
        return "it is not shown that the tuned model predicts held-out answers better"
    told = f"the tuned model predicts held-out answers better than {' and '.join(beaten)}"
    return f"{told}, but is not shown to predict them better than {' and '.join(others)}" if others else told


def show_check(check: Check) -> str:
    """The value of a check as it is read: ``91.0 %``, ``0.43``."""
    if check.value is None:
        return "unknown"
    return f"{100 * check.value:.1f} %" if check.name in PERCENTAGES else f"{check.value:.3g}"


def _value(name: str, answer: Text, gold: Text) -> float:
    metric = metric_named(name)
    value = metric.value(metric.observe(answer, gold))
    return float("nan") if value is None else float(value)


def _check_number(number: int) -> Check:
    why = "likelihood alone does not show how a model answers, nor does a handful of answers (evaluate.generated_rows)"
    return Check("answers", number >= FEWEST_ANSWERS, float(number), f"at least {FEWEST_ANSWERS}", why)


def _check_stop(config: Evaluate.Config, tuned: Text, gold: Text) -> Check:
    """Where references themselves are longer than what may be generated, not more can be asked than their share."""
    reachable = float((gold.num_tokens < config.max_new_tokens).mean())
    floor, value = min(config.stop_rate, reachable), _value("stop_rate", tuned, gold)
    why = "an answer that is cut off at the limit of tokens is no answer (evaluate.stop_rate)"
    if floor < config.stop_rate:
        why = f"so many of the references fit in {config.max_new_tokens:,} tokens (evaluate.max_new_tokens)"
    return Check("stop_rate", value >= floor, value, f"at least {100 * floor:.1f} %", why)


def _check_repetition(tuned: Text, gold: Text) -> Check:
    usual = _value("repetition", gold, gold)
    limit, value = usual + REPETITION_MARGIN, _value("repetition", tuned, gold)
    why = f"the references repeat {100 * usual:.1f} % of their 4-grams; two answers in a hundred may loop"
    return Check("repetition", value <= limit, value, f"at most {100 * limit:.1f} %", why)


def _check_length(tuned: Text, gold: Text) -> Check:
    low, high = LENGTH_BAND
    value = _value("length_ratio", tuned, gold)
    why = "characters over those of the references; beyond, it is another kind of answer"
    known = value if np.isfinite(value) else None
    return Check("length_ratio", low <= value <= high, known, f"{low:g} to {high:g}", why)


def _check_chrf(config: Evaluate.Config, tuned: Text, rival: Text, gold: Text, name: str) -> tuple[Check, bool]:
    return _check_margin(config, "chrf", (tuned, rival, gold), name)


def _check_margin(
    config: Evaluate.Config, measured: str, texts: tuple[Text, Text, Text], name: str
) -> tuple[Check, bool]:
    """Whether ``measured`` is not lost: of the tuned answers, a rival's, and the references; and whether it is lost."""
    tuned, rival, gold = texts
    metric = metric_named(measured)
    observed = [Observed(metric, metric.observe(answer, gold)) for answer in (tuned, rival)]
    samples = bootstrap(observed, config.resamples, config.seed)
    low, high = percentile_interval(samples[:, 0] - samples[:, 1]) or (float("-inf"), float("inf"))
    difference = _value(measured, tuned, gold) - _value(measured, rival, gold)
    why = f"lower end of the difference to {name}, {difference:+.3f} ({low:+.3f} to {high:+.3f})"
    known = low if np.isfinite(low) else None
    return Check(f"{measured}_difference", low >= -CHRF_MARGIN, known, f"at least -{CHRF_MARGIN:g}", why), high < 0
