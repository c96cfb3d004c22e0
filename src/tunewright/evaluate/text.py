"""The verb ``evaluate_text``: likelihoods and generated answers in, a Report with its Verdict and Diagnosis out.

train       the n-gram model is counted
validation  its order is chosen, and the strongest baseline
test        the verdict: the likelihood of every dialogue's answers, and a sample of generated ones

The rule of the verdict stands in ``checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tunewright.errors import InputError
from tunewright.evaluate.checks import check_answers, check_copies, check_going_on, judge_text
from tunewright.evaluate.compare import compare
from tunewright.evaluate.config import Evaluate
from tunewright.evaluate.diagnose import Curves
from tunewright.evaluate.diagnose_text import TextSymptoms, diagnose_text
from tunewright.evaluate.figure_text import draw_text
from tunewright.evaluate.ngram import NGram, Parts
from tunewright.evaluate.opponents import strongest_on_validation
from tunewright.evaluate.resample import sample_rows
from tunewright.evaluate.retention import LANGUAGES, check_retention
from tunewright.evaluate.score import fitting_metrics, measure, score
from tunewright.evaluate.verdict import UNTOUCHED_BASE, show_value, title_of
from tunewright.types import (
    AnsweredRow,
    Check,
    Choice,
    Comparison,
    Likelihood,
    Measure,
    Report,
    Retention,
    Tell,
    Text,
    Verdict,
    tell_nobody,
)

if TYPE_CHECKING:
    from tunewright.types import Ints

TUNED, NGRAM = "tuned", "ngram"
PRIMARY = "nll_per_dialogue"
COMPARABLE = (PRIMARY, "bits_per_character")
PER_TOKEN = ("nll_per_token", "perplexity")
GENERATED = ("chrf", "exact_match", "stop_rate", "repetition", "length_ratio")

NOTHING: Mapping[str, Callable[[Ints], Text]] = MappingProxyType({})
ORDERS = (2, 3, 4, 5, 6)
MOST_CHARACTERS = 2_000_000
NUM_CHARACTERS = 150_000
"""Characters that Unicode 15.1 has assigned: what an unseen character may be. A model that writes text in tokens can spell any
of them and pays for it, so the n-gram model has to pay, too."""

NUM_SHOWN = 10


class TextSystem(Protocol):
    """A model that is judged: what it makes of the reference answers, and what it answers itself."""

    def likelihood(self, split: str) -> Likelihood:
        """Of ``validation`` or ``test``, by dialogue in order: the nats of all answers to predict, their ends included."""
        ...

    def answers(self, split: str, rows: Ints) -> Text | None:
        """What it answers in the last turn of some dialogues, given what precedes it; None where it does not generate."""
        ...


@dataclass(frozen=True, slots=True)
class NgramSystem:
    """A character n-gram model of the answers, with what precedes them in the dialogue as history."""

    model: NGram
    texts: Mapping[str, Sequence[Parts]]

    def likelihood(self, split: str) -> Likelihood:
        """Nats and characters; the end of each answer counts as one."""
        texts = self.texts[split]
        return Likelihood(-self.model.log_probability(texts), self.model.count(texts))

    def answers(self, split: str, rows: Ints) -> Text | None:
        """It could, but nobody would read it."""
        return None


def evaluate_text(  # noqa: PLR0913 - collaborators are arguments
    config: Evaluate.Config,
    *,
    systems: Mapping[str, TextSystem],
    gold: Text,
    prompts: Sequence[str],
    train_texts: Sequence[Parts],
    validation_texts: Sequence[Parts],
    test_texts: Sequence[Parts],
    curves: Curves | None = None,
    command: str = "tunewright run RECIPE",
    run: str = "RUN",
    tell: Tell = tell_nobody,
    retention: Callable[[str], Retention | None] | None = None,
    metrics: Sequence[str] = GENERATED,
    copied: Mapping[str, Callable[[Ints], Text]] = NOTHING,
    noun: str = "dialogues",
    finishes: bool = True,
) -> Report:
    """Judge the tuned text model.

    ``systems`` holds ``tuned``, ``untouched_base`` and, where the base can be prompted, ``few_shot``; the n-gram model is made
    here. ``gold`` are the references of the test dialogues' last turns with their tokens, ``prompts`` what a person reads
    before them. The texts are whole dialogues in parts, each with whether it is an answer to predict: for the same parts
    the systems give likelihoods. ``retention`` takes a language of ``LANGUAGES``. ``metrics`` are the task's, of which those of
    texts are taken; ``copied`` are systems that only write, the tuned model must not agree less with the references than they
    do. ``noun`` is what rows are called; what is written ``finishes`` by itself
    and has a reference, or it only goes on. Raises InputError where there are no rows, or a likelihood is not finite.
    """
    _check_metric(config.metric)
    texts = {"train": train_texts, "validation": validation_texts, "test": test_texts}
    _require_rows(texts)
    tell("baselines", 0, 1, NGRAM)
    ngram, order = _fit_ngram(config, texts)
    everyone: dict[str, TextSystem] = {**systems, NGRAM: ngram}
    characters = {split: predicted_text(texts[split]) for split in ("validation", "test")}
    likelihoods = {split: _likelihoods(everyone, split, len(texts[split])) for split in characters}
    rows = sample_rows(len(gold), config.generated_rows, config.seed)
    tell("baselines", 1, 1, "")
    answers = {name: system.answers("test", rows) for name, system in everyone.items()} if len(rows) else {}
    written = {name: answer for name, answer in answers.items() if answer is not None}
    copies = {name: write(rows) for name, write in copied.items()} if len(rows) else {}
    generated = fitting_metrics(metrics, gold)
    retained = {language: one for language in LANGUAGES if retention and (one := retention(language)) is not None}
    scored = {
        split: {name: score(each, characters[split], _metrics_of(name)) for name, each in likelihoods[split].items()}
        for split in characters
    }
    for name, answer in written.items():
        scored["test"][name] |= score(answer, gold.take(rows), generated)
    scored["test"] |= {name: score(answer, gold.take(rows), generated) for name, answer in copies.items()}
    strongest = strongest_on_validation([name for name in everyone if name != TUNED], scored["validation"], PRIMARY)
    comparisons = _compare(config, likelihoods["test"], characters["test"], strongest)
    checks, is_behind = _check_written(config, written, copies, gold.take(rows), finishes=finishes)
    checks += check_retention(retained, config.retention_limit)
    design = _design(len(test_texts), len(rows), len(validation_texts), config, noun)
    verdict = judge_text(comparisons, checks, is_behind, num_rows=len(test_texts), design=design, rows=noun)
    symptoms = _symptoms(config, verdict, scored["validation"], len(train_texts), gold, curves or Curves())
    references = {"reference": gold.take(rows)} if written else {}
    return Report(
        judged_on="test",
        num_rows=len(test_texts),
        measures=_measures(
            config, likelihoods["test"][TUNED], characters["test"], written.get(TUNED), gold.take(rows), generated
        ),
        per_label={},
        systems=scored["test"],
        validation=scored["validation"],
        thresholds={},
        verdict=verdict,
        diagnosis=diagnose_text(symptoms, command, run),
        figures=draw_text(likelihoods["test"], UNTOUCHED_BASE, references | written, retained),
        worst=(),
        choices=(
            Choice("evaluate.metric", PRIMARY, "the same question for every system, in whatever pieces it reads text"),
            order,
            _strongest_choice(strongest, scored["validation"]),
        ),
        answered=_answered(config, rows, prompts, gold, written, likelihoods["test"]),
    )


def _check_written(
    config: Evaluate.Config, written: Mapping[str, Text], copies: Mapping[str, Text], gold: Text, *, finishes: bool
) -> tuple[tuple[Check, ...], bool]:
    """The checks of what was generated, and whether it agrees less with the references than the untouched base's."""
    tuned = written.get(TUNED)
    if not finishes:
        return check_going_on(tuned, gold), False
    checks, is_behind = check_answers(config, tuned, written.get(UNTOUCHED_BASE), gold)
    return checks + check_copies(config, tuned, copies, gold), is_behind


def predicted_text(texts: Sequence[Parts]) -> Text:
    """All that is predicted of each dialogue, as one text: what likelihoods are of."""
    joined = tuple("".join(part for part, wanted in text if wanted) for text in texts)
    return Text(joined, np.zeros(len(joined), dtype=np.int64), np.ones(len(joined), dtype=bool))


def _check_metric(requested: str) -> None:
    if requested not in ("auto", PRIMARY):
        raise InputError(
            "this metric cannot decide between models that read text in different pieces",
            where="evaluate.metric",
            given=requested,
            allowed=PRIMARY,
            hint="evaluate.metric=auto",
        )


def _require_rows(texts: Mapping[str, Sequence[Parts]]) -> None:
    for split, hint in (("train", "data.path=FILE"), ("test", "data.test=0.2")):
        if not texts[split]:
            problem = f"there are no {split} rows"
            raise InputError(problem, where="evaluate", given="0 rows", allowed="1 or more", hint=hint)


def _fit_ngram(config: Evaluate.Config, texts: Mapping[str, Sequence[Parts]]) -> tuple[NgramSystem, Choice]:
    """The n-gram model of the order that predicts the validation answers best, from at most two million characters."""
    train = texts["train"]
    order = np.random.default_rng(config.seed).permutation(len(train))
    sizes = accumulate(sum(len(part) + 1 for part, _ in train[row]) for row in order)
    kept = [train[row] for row, size in zip(order, sizes, strict=True) if size <= MOST_CHARACTERS] or [train[order[0]]]
    fitted = [NGram(length, unknown_size=NUM_CHARACTERS).fit(kept) for length in ORDERS]
    nats = [-float(model.log_probability(texts["validation"]).sum()) for model in fitted]
    best = fitted[int(np.argmin(nats))]
    reason = f"the best of {ORDERS[0]} to {ORDERS[-1]} on the validation answers; {len(kept):,} training dialogues"
    return NgramSystem(best, texts), Choice("evaluate.ngram_order", best.order, reason)


def _likelihoods(systems: Mapping[str, TextSystem], split: str, num_rows: int) -> dict[str, Likelihood]:
    found = {name: system.likelihood(split) for name, system in systems.items()} if num_rows else {}
    for name, each in found.items():
        assert len(each) == num_rows, (name, split, len(each), num_rows)
        if num_wrong := int((~np.isfinite(each.nll)).sum()):
            raise InputError(
                f"{title_of(name)} gives no finite likelihood for {num_wrong:,} of {num_rows:,} {split} dialogues",
                where=name,
                allowed="a model whose numbers are finite",
                hint="a smaller train.lr, or train.dtype=fp32",
            )
    return found


def _metrics_of(name: str) -> tuple[str, ...]:
    """Tokens of the n-gram model are characters: per token it is not comparable with the others."""
    return COMPARABLE if name == NGRAM else (*COMPARABLE, *PER_TOKEN)


def _compare(
    config: Evaluate.Config, likelihoods: Mapping[str, Likelihood], gold: Text, strongest: Sequence[str]
) -> tuple[Comparison, ...]:
    opponents = {name: each for name, each in likelihoods.items() if name != TUNED}
    required = {UNTOUCHED_BASE, *strongest}
    return compare(likelihoods[TUNED], opponents, gold, PRIMARY, required, config.seed, num_resamples=config.resamples)


def _measures(
    config: Evaluate.Config,
    likelihood: Likelihood,
    characters: Text,
    answer: Text | None,
    gold: Text,
    generated: Sequence[str],
) -> tuple[Measure, ...]:
    drawn = {"seed": config.seed, "num_resamples": config.resamples}
    found = measure(likelihood, characters, _metrics_of(TUNED), **drawn)
    return found + measure(answer, gold, generated, **drawn) if answer is not None else found


def _design(num_rows: int, num_generated: int, num_validation: int, config: Evaluate.Config, noun: str) -> str:
    drawn = f"drawn at temperature {config.temperature:g}" if config.temperature else "the likeliest each time"
    return (
        f"{num_rows:,} held-out test {noun}, the same for every system: nats of the reference answers with their ends. "
        f"{num_generated:,} of them were answered, with at most {config.max_new_tokens:,} tokens each, "
        f"{drawn}. The strongest baseline "
        f"was chosen on {num_validation:,} validation {noun}."
    )


def _strongest_choice(strongest: Sequence[str], validation: Mapping[str, Mapping[str, float | None]]) -> Choice:
    path = "evaluate.strongest_baseline"
    value = validation.get(strongest[0], {}).get(PRIMARY) if len(strongest) == 1 else None
    if value is None:
        return Choice(
            path, tuple(strongest), "there is no validation score to choose by: all of them have to be beaten"
        )
    reason = f"{show_value(PRIMARY, value)} nats per dialogue on the validation rows, the least of the baselines"
    return Choice(path, strongest[0], reason)


def _symptoms(
    config: Evaluate.Config,
    verdict: Verdict,
    validation: Mapping[str, Mapping[str, float | None]],
    num_train: int,
    gold: Text,
    curves: Curves,
) -> TextSymptoms:
    required = [each for each in verdict.comparisons if each.required]
    hardest = max(required, key=lambda each: each.p * (1 if each.difference <= 0 else -1), default=None)
    return TextSymptoms(
        outcome=verdict.outcome,
        checks=verdict.checks,
        num_train=num_train,
        tuned_nll=validation.get(TUNED, {}).get("nll_per_token"),
        base_nll=validation.get(UNTOUCHED_BASE, {}).get("nll_per_token"),
        difference=hardest.difference if hardest else 0.0,
        smallest_detectable=hardest.smallest_detectable if hardest else 0.0,
        max_new_tokens=config.max_new_tokens,
        generated_rows=config.generated_rows,
        cut_references=float((gold.num_tokens >= config.max_new_tokens).mean()),
        curves=curves,
    )


def _answered(
    config: Evaluate.Config,
    rows: Ints,
    prompts: Sequence[str],
    gold: Text,
    answers: Mapping[str, Text],
    likelihoods: Mapping[str, Likelihood],
) -> tuple[AnsweredRow, ...]:
    """The answered dialogues on which the tuned model lost most to its base (all, where there is none), and a plain sample.

    No question is shown twice.
    """
    base = likelihoods[UNTOUCHED_BASE].nll if UNTOUCHED_BASE in likelihoods else 0.0
    lost = (likelihoods[TUNED].nll - base)[rows]
    asked = [" ".join(prompts[row].casefold().split()) for row in rows]
    order = [int(at) for at in np.argsort(-lost, kind="stable") if lost[at] > 0]
    worst = _first_of_each(order, asked)[: min(NUM_SHOWN, config.worst_rows)]
    shown = {asked[at] for at in worst}
    others = _first_of_each([at for at in range(len(rows)) if asked[at] not in shown], asked)
    even = np.linspace(0, len(others) - 1, min(NUM_SHOWN, len(others))).round().astype(np.int64)
    sample = [others[at] for at in np.unique(even)]
    return tuple(
        AnsweredRow(
            index=int(rows[at]),
            prompt=prompts[rows[at]],
            reference=gold.texts[rows[at]],
            answers={name: each.texts[at] for name, each in answers.items()},
            nll={name: float(each.nll[rows[at]]) for name, each in likelihoods.items()},
            is_worst=at in worst,
        )
        for at in (*worst, *sample)
    )


def _first_of_each(order: Sequence[int], asked: Sequence[str]) -> list[int]:
    """Of those that were asked the same, only the first in this order."""
    first: dict[str, int] = {}
    for at in order:
        first.setdefault(asked[at], at)
    return list(first.values())
