"""How names, numbers and units are put in words, the same on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.report.node import Node
from tunewright.words import counted

METRICS = {
    "accuracy": ("Accuracy", "share of rows answered right"),
    "in_scope_accuracy": ("In scope: accuracy", "share of rows in scope answered right"),
    "in_scope_refused": ("In scope: refused", "share of rows in scope that are refused; lower is better"),
    "out_of_scope_recall": ("Out of scope: refused", "share of rows out of scope that are refused"),
    "out_of_scope_auroc": ("Out of scope: ROC area", "told by the likeliest label's probability; 0.5 is guessing"),
    "subset_accuracy": ("Exact match", "share of rows with every label right"),
    "precision": ("Precision", "share of the given labels that are right"),
    "recall": ("Recall", "share of the right labels that were given"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "micro_precision": ("Precision, micro", "over all rows at once"),
    "micro_recall": ("Recall, micro", "over all rows at once"),
    "micro_f1": ("F1, micro", "over all rows at once"),
    "macro_precision": ("Precision, macro", "every label counts the same"),
    "macro_recall": ("Recall, macro", "every label counts the same"),
    "macro_f1": ("F1, macro", "every label counts the same"),
    "weighted_precision": ("Precision, weighted", "labels count by their rows"),
    "weighted_recall": ("Recall, weighted", "labels count by their rows"),
    "weighted_f1": ("F1, weighted", "labels count by their rows"),
    "roc_auc": ("ROC area", "0.5 is guessing, 1 ranks every pair right"),
    "pr_auc": ("PR area", "guessing scores the share of the label"),
    "average_precision": ("Average precision", "guessing scores the share of the label"),
    "mcc": ("MCC", "correlation of answer and truth; 0 is guessing"),
    "log_loss": ("Log loss", "lower is better"),
    "ece": ("ECE", "gap of confidence and accuracy; lower is better"),
    "brier": ("Brier score", "lower is better"),
    "hamming_loss": ("Hamming loss", "lower is better"),
    "entity_f1": ("Span F1", "ends and label have to be right; all labels together"),
    "entity_precision": ("Span precision", "share of the spans found that are right"),
    "entity_recall": ("Span recall", "share of the spans there to be found that were"),
    "entity_macro_f1": ("Span F1, macro", "every label counts the same"),
    "entity_exact_rows": ("Exact texts", "share of texts with every span right and none too many"),
    "preference_accuracy": ("Preference accuracy", "share of pairs of which the better answer leads"),
    "preference_margin": ("Preference margin", "by how much the better answer leads, on average"),
    "nll_per_dialogue": ("Nats per dialogue", "to predict the reference answers; lower is better"),
    "nll_per_token": ("Nats per token", "of the reference answers; lower is better"),
    "bits_per_character": ("Bits per character", "of the reference answers; lower is better"),
    "perplexity": ("Perplexity", "of the reference answers; lower is better"),
    "chrf": ("chrF", "character n-grams shared with the reference"),
    "rouge_1": ("ROUGE-1", "words shared with the reference"),
    "rouge_2": ("ROUGE-2", "pairs of words shared with the reference"),
    "rouge_l": ("ROUGE-L", "words in common order with the reference"),
    "rouge_l_lead": ("ROUGE-L, tuned − first sentences", "lower end of the 95 % interval"),
    "rouge_l_copy_source": ("ROUGE-L, tuned − source", "lower end of the 95 % interval"),
    "exact_match": ("Exact match", "but for width, case, space and marks at the end"),
    "stop_rate": ("Stop rate", "answers that end by themselves"),
    "repetition": ("Repetition", "4-grams seen before in the answer; lower is better"),
    "length_ratio": ("Length ratio", "characters against the references; 1 is as long"),
    "answers": ("Answers", "generated and looked at"),
    "chrf_difference": ("chrF, tuned − base", "lower end of the 95 % interval"),
    "retention_en": ("Retention, English", "perplexity of general text, after / before"),
    "retention_zh": ("Retention, Chinese", "perplexity of general text, after / before"),
}
LIKELIHOODS = frozenset({"nll_per_dialogue", "nll_per_token", "bits_per_character", "perplexity"})
LOWER_IS_BETTER = (
    frozenset({"log_loss", "ece", "brier", "hamming_loss", "loss", "repetition", "in_scope_refused"}) | LIKELIHOODS
)
UNBOUNDED = frozenset({"log_loss", "loss", "mcc", "length_ratio", "preference_margin"}) | LIKELIHOODS
UNDIRECTED = frozenset({"length_ratio"})
"""Metrics of which neither the most nor the least is best."""

SYSTEMS = {
    "tuned": "Tuned model",
    "untouched_base": "Untouched base",
    "nb_svm": "NB-SVM",
    "tfidf_lr": "TF-IDF + logistic regression",
    "majority": "Most frequent label",
    "prompted_base": "Prompted base",
    "frozen_probe": "Frozen probe",
    "few_shot": "Base shown examples",
    "gazetteer": "Names seen in training",
    "perceptron_tagger": "Averaged perceptron",
    "ngram": "N-gram model",
    "answer_length": "Length of the answer",
    "lead": "First sentences of the source",
    "copy_source": "The source as it is",
    "reference": "Reference",
}
OUTCOMES = {
    "better": "The tuned model is better.",
    "worse": "The tuned model is worse.",
    "no evidence": "No evidence of a difference.",
}
LEVEL = 0.05
MINUS = "\u2212"
MULTIPLES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def metric_name(name: str) -> str:
    """The metric's name as a reader knows it; an unknown one with spaces for underscores."""
    return METRICS[name][0] if name in METRICS else name.replace("_", " ")


def metric_note(name: str) -> str:
    """What the metric says, in a few words; empty for an unknown one."""
    return METRICS[name][1] if name in METRICS else ""


def system_name(name: str) -> str:
    """The system's name as a reader knows it; an unknown one with spaces for underscores."""
    return SYSTEMS.get(name, name.replace("_", " "))


def verdict_headline(found: Node) -> str:
    """The outcome of a verdict as a sentence; where it is open, with what stood in the way and what was shown."""
    outcome = found["outcome"].text()
    num_failed = sum(check["passed"].value is not True for check in found["checks"].items())
    if outcome == "no evidence" and num_failed:
        return f"Not called better: {counted(num_failed, 'check')} failed."
    required = [one for one in found["comparisons"].items() if one["required"].value is True]
    # where one is lost the outcome is `worse`: what is decided here is won
    beaten = [one for one in required if (p := one["p"].number()) is not None and p < LEVEL]
    others = [one for one in required if one not in beaten]
    if outcome == "no evidence" and beaten and others:
        return f"Better than {_opponents(beaten)}, not shown better than {_opponents(others)}."
    return OUTCOMES.get(outcome, "There is no verdict in this result.")


def _opponents(comparisons: Sequence[Node]) -> str:
    """Their names inside a sentence; names of methods stay as they are."""
    names = [(one["against"].text(), system_name(one["against"].text())) for one in comparisons]
    return " and ".join(
        name if key not in SYSTEMS or name[1:2].isupper() or name[2:3].isupper() else f"the {name[0].lower()}{name[1:]}"
        for key, name in names
    )


def whole(value: float) -> str:
    """A count with thousands separators."""
    return f"{round(value):,}".replace("-", MINUS)


def decimal(value: float, digits: int = 3) -> str:
    """A number with a fixed number of decimals; a value that would read as zero but is not is shown as a bound."""
    smallest = 10.0**-digits
    if value != 0 and abs(value) < smallest / 2:
        return f"< {smallest:.{digits}f}" if value > 0 else f"> {MINUS}{smallest:.{digits}f}"
    return f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, also when it is positive; zero has none."""
    text = f"{value:+,.{digits}f}"
    return f"{0:.{digits}f}" if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def p_value(value: float) -> str:
    """``p < 0.001``, else three decimals, two from 0.1 on; a p that would round to 1 says so."""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.1 else f"p = {min(value, 1.0):.2f}"


def percent(part: float, total: float) -> str:
    """The share of ``total`` in percent, one decimal under 10; a share that is not none is never shown as 0."""
    if total <= 0:
        return ""
    share = 100 * part / total
    if 0 < share < 0.1:
        return "< 0.1 %"
    if share > 99.9 and part < total:
        return "> 99.9 %"
    return f"{share:.1f} %" if share < 10 or 99 < share < 100 else f"{share:.0f} %"


def significant(value: float, digits: int = 3) -> str:
    """A number of unknown size with a few significant digits; small ones as they are typed: ``5e-5``."""
    if value == int(value) and abs(value) < 1e15:
        return whole(value)
    if 1e-3 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):,.10f}".rstrip("0").rstrip(".").replace("-", MINUS)
    return scientific(value, digits)


def scientific(value: float, digits: int = 3) -> str:
    """A number as ``1.5e-5``: at most ``digits`` significant digits, no idle zeros."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    short = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{short}e{int(exponent)}".replace("-", MINUS)


def large(value: float) -> str:
    """A large count in words: ``22.7 million``."""
    for unit, name in MULTIPLES:
        if value >= unit * 0.9995:
            return f"{value / unit:.3g} {name}"
    return whole(value)
