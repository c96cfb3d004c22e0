"""The verb ``evaluate_spans``: labelled spans and gold in, a Report with its Verdict and Diagnosis out.

train       baselines are fitted
validation  the strongest baseline is chosen
test        the verdict
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright import extensions
from tunewright.errors import InputError
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves, Symptoms, diagnose
from tunewright.evaluate.metric._entities import count_spans
from tunewright.evaluate.metric.base import f1, precision, recall
from tunewright.evaluate.opponents import choose_opponents, describe_strongest, strongest_on_validation
from tunewright.evaluate.resample import sample_rows
from tunewright.evaluate.score import choose_primary, fitting_metrics, measure, score
from tunewright.evaluate.verdict import UNTOUCHED_BASE, judge
from tunewright.types import Choice, Report, Span, Spans, Tell, Verdict, WorstRow, tell_nobody

if TYPE_CHECKING:
    from tunewright.seams import SpanBaseline
    from tunewright.types import Ints

TUNED = "tuned"
SEEN_ROWS = 1000
"""Training rows that are answered for the diagnosis."""

KINDS = ("right", "wrong label", "wrong ends", "missed", "surplus")


def evaluate_spans(  # noqa: PLR0913 - collaborators are arguments
    config: Evaluate.Config,
    *,
    answers: Callable[[str], Spans],
    untouched: Callable[[], Callable[[list[str]], Spans]],
    seen: Callable[[Ints], Spans],
    gold: Callable[[str], Spans],
    texts: Callable[[str], list[str]],
    metrics: Sequence[str],
    baselines: Sequence[str],
    curves: Curves | None = None,
    command: str = "tunewright run RECIPE",
    run: str = "RUN",
    tell: Tell = tell_nobody,
) -> Report:
    """Judge the tuned tagger.

    ``answers``, ``gold`` and ``texts`` take ``train``, ``validation`` or ``test``; ``seen`` takes numbers of training rows;
    ``untouched`` gives the untouched base, which labels texts. ``metrics`` and ``baselines`` are the task's. Raises
    InputError for a metric or baseline that does not exist or fit, and where there is nothing to judge.
    """
    rows = {split: gold(split) for split in ("train", "validation", "test")}
    _require_spans(rows)
    curves = curves or Curves()
    primary = choose_primary(config.metric, rows["train"])
    metric = str(primary.value)
    chosen = choose_opponents(config.baselines, baselines, None, "spans")
    systems = _systems(config, chosen, texts("train"), rows["train"], untouched, tell)
    reported = fitting_metrics((metric, *metrics), rows["test"])
    found: dict[str, dict[str, Spans]] = {}
    for split in ("validation", "test"):
        asked = texts(split)
        found[split] = (
            {TUNED: answers(split), **{name: system(asked) for name, system in systems.items()}} if asked else {}
        )
    tell("scores", 0, 1, "")
    scored = {
        split: {name: score(answer, rows[split], reported) for name, answer in each.items()}
        for split, each in found.items()
    }
    rivals = [name for name in systems if name != UNTOUCHED_BASE]
    strongest = strongest_on_validation(rivals, scored["validation"], metric)
    tuned, right = found["test"][TUNED], rows["test"]
    others = {name: answer for name, answer in found["test"].items() if name != TUNED}
    comparisons = compare(
        tuned, others, right, metric, {UNTOUCHED_BASE, *strongest}, config.seed, num_resamples=config.resamples
    )
    design = (
        f"{len(right):,} held-out test rows, the same raw texts for every system; the strongest baseline was chosen on "
        f"{len(rows['validation']):,} validation rows."
    )
    verdict = judge(comparisons, metric=metric, num_rows=len(right), design=design)
    sample = sample_rows(len(rows["train"]), SEEN_ROWS, config.seed)
    known = score(seen(sample), rows["train"].take(sample), [metric])[metric]
    tell("scores", 1, 1, "")
    return Report(
        judged_on="test",
        num_rows=len(right),
        measures=measure(tuned, right, reported, seed=config.seed, num_resamples=config.resamples),
        per_label=score_by_label(tuned, right),
        systems=scored["test"],
        validation=scored["validation"],
        thresholds={},
        verdict=verdict,
        diagnosis=diagnose(_symptoms(metric, verdict, rows, scored, strongest, known, curves), command, run),
        figures={"span_errors": {name: count_errors(answer, right) for name, answer in found["test"].items()}},
        worst=find_worst_spans(tuned, right, texts("test"), config.worst_rows),
        choices=(primary, chosen, describe_strongest(strongest, scored["validation"], metric)),
    )


def score_by_label(answer: Spans, gold: Spans) -> dict[str, dict[str, float | None]]:
    """By label: precision, recall, f1, support (spans there to be found) and prevalence (their share of all)."""
    hits, answered, right = count_spans(answer, gold).sum(axis=0)
    columns = {
        "precision": precision(hits, answered, right),
        "recall": recall(hits, answered, right),
        "f1": f1(hits, answered, right),
        "support": right,
        "prevalence": right / max(1.0, float(right.sum())),
    }
    return {
        label: {name: float(each[at]) if np.isfinite(each[at]) else None for name, each in columns.items()}
        for at, label in enumerate(gold.names)
    }


def count_errors(answer: Spans, gold: Spans) -> dict[str, int]:
    """How many spans are right, have a wrong label or wrong ends (some text in common), were missed, or are surplus."""
    counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for given, true in zip(answer.found, gold.found, strict=True):
        left, met = set(true), set[Span]()
        for span in given:
            same_ends = next((one for one in true if (one.start, one.end) == (span.start, span.end)), None)
            touched = same_ends or next((one for one in true if one.start < span.end and span.start < one.end), None)
            if touched is None or touched in met:
                counts["surplus"] += 1
                continue
            met.add(touched)
            left.discard(touched)
            kind = "wrong ends" if same_ends is None else "right" if same_ends.label == span.label else "wrong label"
            counts[kind] += 1
        counts["missed"] += len(left)
    return dict(counts)


def find_worst_spans(answer: Spans, gold: Spans, texts: Sequence[str], num_rows: int) -> tuple[WorstRow, ...]:
    """The rows with a wrong, a missing or a surplus span: those first whose wrong answer has the highest score."""
    wrong: list[tuple[float, int]] = []
    for row, (given, true) in enumerate(zip(answer.found, gold.found, strict=True)):
        if set(given) != set(true):
            mistaken = [span.score or 0.0 for span in given if span not in true]
            wrong.append((max(mistaken, default=0.0), row))
    wrong.sort(key=lambda each: (-each[0], each[1]))
    return tuple(
        WorstRow(
            row,
            show_spans(gold.found[row], texts[row]),
            show_spans(answer.found[row], texts[row]),
            confidence,
            quotes=True,
        )
        for confidence, row in wrong[:num_rows]
    )


def show_spans(spans: Sequence[Span], text: str) -> str:
    """The spans as a person reads them: ``Ada Lovelace (person), London (place)``."""
    return ", ".join(f"{text[span.start : span.end]} ({span.label})" for span in spans)


def _require_spans(rows: Mapping[str, Spans]) -> None:
    for split, hint in (("train", "data.path=FILE"), ("test", "data.test=0.2")):
        if not any(rows[split].found):
            raise InputError(
                f"there are no labelled spans in the {split} rows",
                where="evaluate",
                given=f"{len(rows[split]):,} rows, 0 spans",
                allowed="rows of which some have spans",
                hint=hint,
            )


def _systems(
    config: Evaluate.Config,
    chosen: Choice,
    texts: list[str],
    gold: Spans,
    untouched: Callable[[], Callable[[list[str]], Spans]],
    tell: Tell,
) -> dict[str, Callable[[list[str]], Spans]]:
    """What the tuned model is compared with, each fitted on the training rows."""
    names: Any = chosen.value
    systems: dict[str, Callable[[list[str]], Spans]] = {}
    for number, name in enumerate(names):
        tell("baselines", number, len(names) + 1, name)
        made: Any = extensions.load("evaluate.baseline", name)
        baseline: SpanBaseline = made(seed=config.seed)
        baseline.fit(texts, gold)
        systems[name] = baseline.predict
    tell("baselines", len(names), len(names) + 1, UNTOUCHED_BASE)
    systems[UNTOUCHED_BASE] = untouched()
    tell("baselines", len(names) + 1, len(names) + 1, "")
    return systems


def _symptoms(
    metric: str,
    verdict: Verdict,
    rows: Mapping[str, Spans],
    scored: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    strongest: Sequence[str],
    known: float | None,
    curves: Curves,
) -> Symptoms:
    required = [each for each in verdict.comparisons if each.required]
    hardest = max(required, key=lambda each: each.p * (1 if each.difference >= 0 else -1), default=None)
    counts = Counter(span.label for spans in rows["train"].found for span in spans)
    validation = scored["validation"]
    return Symptoms(
        metric=metric,
        train_score=known,
        validation_score=validation.get(TUNED, {}).get(metric),
        baseline=strongest[0] if strongest else "",
        baseline_score=validation.get(strongest[0], {}).get(metric) if strongest else None,
        rows_per_label={name: counts[name] for name in rows["train"].names},
        outcome=verdict.outcome,
        difference=hardest.difference if hardest else 0.0,
        smallest_detectable=hardest.smallest_detectable if hardest else 0.0,
        curves=curves,
    )
