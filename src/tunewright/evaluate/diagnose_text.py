"""What ails a tuned text model, if anything (row E6): one named cause, the numbers that speak for it, and the next command."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tunewright.evaluate.checks import FEWEST_ANSWERS, TITLES, show_check
from tunewright.evaluate.diagnose import Curves
from tunewright.types import Cause, Check, Diagnosis

LARGE_GAP = 0.5
"""Nats per token between training and validation: a factor of 1.65 in perplexity."""

RISE = 0.02
"""Share of the validation value by which it has to move to count as rising or falling."""

FEW_DIALOGUES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSymptoms:
    """What the diagnosis is made from. Nats per token on the validation rows; differences are nats per dialogue.

    ``tuned_nll`` and ``base_nll`` are of whole dialogues. The curves are of dialogues cut to ``encode.max_length`` as in
    training: losses of training rows are compared with those, at the step whose weights were kept.
    ``difference`` (tuned minus opponent) and ``smallest_detectable`` are those of the required comparison that was least in
    the tuned model's favour.
    """

    outcome: str
    checks: tuple[Check, ...] = ()
    num_train: int = 0
    tuned_nll: float | None = None
    base_nll: float | None = None
    difference: float = 0.0
    smallest_detectable: float = 0.0
    max_new_tokens: int = 256
    generated_rows: int = 200
    cut_references: float = 0.0
    curves: Curves = field(default_factory=Curves)


def diagnose_text(symptoms: TextSymptoms, command: str, run: str = "RUN") -> Diagnosis:
    """The first cause that the symptoms show; ``command`` repeats the run, the next command is it with one override."""
    causes: tuple[tuple[Cause, Callable[[TextSymptoms], list[str]], str], ...] = (
        ("does not stop", _does_not_stop, _let_it_stop(symptoms)),
        ("repeats itself", _repeats_itself, _epochs(symptoms)),
        ("forgot too much", _forgot, _less(symptoms)),
        ("under-fit", _under_fit, f"train.epochs={_more(symptoms)}"),
        ("over-fit", _over_fit, _epochs(symptoms)),
        ("too few rows", _too_few_answers, "evaluate.generated_rows=200"),
        ("too few rows", _too_few_rows, "data.path=FILE_WITH_MORE_ROWS"),
        ("under-fit", _no_gain, f"train.epochs={_more(symptoms)}"),
    )
    for cause, look, override in causes:
        if evidence := look(symptoms):
            return Diagnosis(cause, (*evidence, *_numbers(symptoms)), f"{command} {override}")
    return Diagnosis("fine", tuple(_numbers(symptoms)), f"tunewright chat {run}")


def _failed(symptoms: TextSymptoms, prefix: str) -> list[Check]:
    return [check for check in symptoms.checks if check.name.startswith(prefix) and not check.passed]


def _does_not_stop(symptoms: TextSymptoms) -> list[str]:
    return [
        f"only {show_check(check)} of the answers end by themselves, {check.limit} is needed"
        for check in _failed(symptoms, "stop_rate")
    ]


def _let_it_stop(symptoms: TextSymptoms) -> str:
    if symptoms.cut_references > 0.02:
        return f"evaluate.max_new_tokens={2 * symptoms.max_new_tokens}"
    return f"train.epochs={_more(symptoms)}"


def _repeats_itself(symptoms: TextSymptoms) -> list[str]:
    return [
        f"{show_check(check)} of the 4-grams in its answers are repeats, {check.limit} is allowed"
        for check in _failed(symptoms, "repetition")
    ]


def _forgot(symptoms: TextSymptoms) -> list[str]:
    return [
        f"{check.why.partition(';')[0]}, a factor of {check.value:.2f}"
        for check in _failed(symptoms, "retention")
        if check.value is not None
    ]


def _under_fit(symptoms: TextSymptoms) -> list[str]:
    if symptoms.outcome == "better":
        return []
    values = _values(symptoms)
    tuned, base = symptoms.tuned_nll, symptoms.base_nll
    if tuned is not None and base is not None and tuned >= base and _rise(symptoms) < RISE:
        return [f"the tuned model needs {tuned:.3f} nats per token on validation rows, its untouched base {base:.3f}"]
    if len(values) > 1 and values[-1] == min(values):
        middle = values[(len(values) - 1) // 2]
        if (middle - values[-1]) >= RISE * abs(middle):
            return [f"the validation loss was still falling at the end, from {middle:.3f} to {values[-1]:.3f}"]
    return []


def _over_fit(symptoms: TextSymptoms) -> list[str]:
    """Of the weights that were kept: what training did after their step is not in them."""
    known, kept = symptoms.curves.kept_loss, _kept_nll(symptoms)
    if symptoms.outcome == "better" or symptoms.num_train < FEW_DIALOGUES or known is None or kept is None:
        return []
    if kept - known < LARGE_GAP:
        return []
    return [f"validation tokens cost {kept - known:.3f} nats more than training tokens", *_turned(symptoms)]


def _turned(symptoms: TextSymptoms) -> list[str]:
    """That validation was best before the end, so that more passes are of no use."""
    values, rise = _values(symptoms), _rise(symptoms)
    if rise < RISE:
        return []
    best = values.index(min(values)) + 1
    return [f"the validation loss was best at evaluation {best} of {len(values)} and then rose by {100 * rise:.0f} %"]


def _too_few_answers(symptoms: TextSymptoms) -> list[str]:
    if symptoms.generated_rows >= FEWEST_ANSWERS:
        return []
    return [f"only {show_check(check)} answers were generated" for check in _failed(symptoms, "answers")]


def _no_gain(symptoms: TextSymptoms) -> list[str]:
    if symptoms.outcome == "better":
        return []
    failed = [
        f"what it generates fails {TITLES[check.name]}: {show_check(check)}, {check.limit} is needed"
        for check in symptoms.checks
        if not check.passed
    ]
    return failed or ["it does not predict the answers better than every opponent that decides"]


def _too_few_rows(symptoms: TextSymptoms) -> list[str]:
    if symptoms.outcome == "better":
        return []
    ahead, visible = -symptoms.difference, symptoms.smallest_detectable
    if symptoms.outcome == "no evidence" and 0 < visible / 2 <= ahead < visible:
        told = f"the tuned model is ahead by {ahead:.1f} nats per dialogue"
        return [f"{told}, but so few dialogues show only differences of {visible:.1f} or more"]
    if symptoms.num_train < FEW_DIALOGUES:
        return [f"there are {symptoms.num_train:,} training dialogues", *_turned(symptoms)]
    return _turned(symptoms)


def _numbers(symptoms: TextSymptoms) -> list[str]:
    """The curves' numbers for training against validation; of the base only how it differs, as it read whole dialogues."""
    parts = [("training rows", symptoms.curves.kept_loss), ("validation rows", _kept_nll(symptoms))]
    shown = [f"{value:.3f} on {name}" for name, value in parts if value is not None]
    lines = [f"nats per token where the weights were kept: {', '.join(shown)}"] if shown else []
    tuned, base = symptoms.tuned_nll, symptoms.base_nll
    if tuned is not None and base is not None:
        more = "more" if base >= tuned else "less"
        lines.append(f"on whole validation rows the untouched base needs {abs(base - tuned):.3f} nats per token {more}")
    return lines


def _values(symptoms: TextSymptoms) -> list[float]:
    return list(symptoms.curves.validation_metric)


def _rise(symptoms: TextSymptoms) -> float:
    """From the best evaluation to the last, as a share of the best."""
    values = _values(symptoms)
    if not values:
        return 0.0
    best = min(values)
    return (values[-1] - best) / abs(best) if best else 0.0


def _kept_nll(symptoms: TextSymptoms) -> float | None:
    return min(_values(symptoms), default=None)


def _more(symptoms: TextSymptoms) -> int:
    return max(2, math.ceil(2 * symptoms.curves.epochs))


def _epochs(symptoms: TextSymptoms) -> str:
    """Fewer epochs where validation was best before the end, more where it was not; weight decay where one is too many."""
    values, epochs = _values(symptoms), symptoms.curves.epochs
    if _rise(symptoms) < RISE and not _over_fit(symptoms):
        return f"train.epochs={_more(symptoms)}"
    place = values.index(min(values)) + 1 if values else 0
    best = math.ceil(epochs * place / max(1, len(values)))
    return f"train.epochs={best}" if 0 < best < epochs else "train.optimizer.weight_decay=0.1"


def _less(symptoms: TextSymptoms) -> str:
    """Half the epochs; where there is only one, a method that moves less."""
    epochs = math.floor(symptoms.curves.epochs / 2)
    return f"train.epochs={epochs}" if epochs >= 1 else "method=lora"
