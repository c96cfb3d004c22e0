"""Text classification: one label of two or many, or several labels at once.

A record before and after ``read``:

    {"text": "A gripping film.", "label": "positive"}      ->  {"text": "A gripping film.", "label": ["positive"]}
    {"text": "Rain and wind",    "label": "rain|wind"}     ->  {"text": "Rain and wind", "label": ["rain", "wind"]}

Outputs: ``softmax`` gives one logit per label and answers the most probable; ``sigmoid`` gives one logit for two labels
(the probability of the second in sorted order), or one independent logit per label where rows carry several.

One label may stand for "none of the others": ``out_of_scope`` names it. Where it has training rows it is learnt like any
other. Texts are also refused, that is given this label, where no other one is probable enough: ``evaluate/threshold.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunewright.adapt.ranges import training_ranges
from tunewright.adapt.recognise import looks_multilabel, recognise_classification
from tunewright.config.base import ComponentConfig, Option
from tunewright.errors import InputError
from tunewright.seams import RowEncoder
from tunewright.types import (
    Adapter,
    Base,
    Choice,
    Classified,
    ColumnProfile,
    Dataset,
    Field,
    Floats,
    Label,
    Labels,
    Objective,
    Plan,
    Range,
    Recognition,
    Row,
    Space,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from tunewright.store.artifact import Draft


class Classify:
    """Text classification on an encoder or a decoder: binary, multi-class or multi-label."""

    class Config(ComponentConfig):
        """Options of text classification."""

        only_training = frozenset(
            {"pooling", "activation", "dropout", "label_smoothing", "focal_gamma", "class_weights"}
        )

        out_of_scope: str = Option(
            "",
            "The label that says `none of the others`; texts for which no other label is probable enough get it. Empty: none.",
            examples=["oos"],
        )
        output: Literal["auto", "softmax", "sigmoid"] = Option(
            "auto",
            "softmax: one output per label; sigmoid: one output for two labels, or one per label if rows have several.",
        )
        separator: str = Option(
            "auto",
            "What separates several labels in one cell (such as '|'); list: cells are JSON lists; '': a cell is one label.",
        )
        pooling: Literal["auto", "first", "mean", "last"] = Option(
            "auto", "Which hidden state stands for the text; auto is what the architecture's stock head does."
        )
        activation: Literal["auto", "tanh", "gelu", "relu", "silu", "none"] = Option(
            "auto", "Activation of the head's dense layer; auto is what the architecture's stock head does."
        )
        dropout: float | None = Option(
            None,
            "Dropout of the head while training. Empty: what the architecture's stock head has.",
            ge=0.0,
            lt=1.0,
            examples=[0.1],
        )
        label_smoothing: float = Option(
            0.0, "Share of the target spread over all labels, or over yes and no for a sigmoid.", ge=0.0, lt=1.0
        )
        focal_gamma: float = Option(
            0.0, "Focus on rows that are hard: a term weighs (1 - p)^gamma; 0 is off, 2 is usual.", ge=0.0, le=10.0
        )
        class_weights: Literal["none", "balanced"] = Option(
            "none", "balanced: a label's rows weigh in inverse proportion to their number."
        )

    fields: Sequence[Field] = (
        Field("text", "text", "The text to classify."),
        Field("label", "label", "Its label, or several as a list or separated in one cell."),
    )

    stored: Sequence[Field] = fields

    def __init__(self, config: Config | None = None) -> None:
        """An unbound task: it can recognise and read rows; ``bind`` gives it a label set."""
        self.config = config or self.Config()
        self.out_of_scope = self.config.out_of_scope.strip() or None
        if self.out_of_scope:
            text, label = self.stored
            self.stored = (text, replace(label, labels=(self.out_of_scope,)))
        self.labels: tuple[str, ...] = ()
        self.multi_label = False
        self.label_counts: Mapping[str, int] = {}
        self.num_rows = 0

    # -- questions asked before there is a label set

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns hold text and label."""
        return recognise_classification(profiles)

    def tuned_to(
        self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
    ) -> tuple[Classify, tuple[Choice, ...]]:
        """This task with ``separator`` decided from the label column's profile, and the choice made."""
        if self.config.separator != "auto":
            return self, ()
        profile = next((each for each in profiles if each.name == columns.get("label")), None)
        separator = (looks_multilabel(profile) if profile is not None else None) or ""
        reason = "each cell is one label, nothing separates several"
        if profile is not None and separator:
            examples = [cell for cell in profile.counts if separator in cell] or list(profile.examples)
            reason = f"cells such as {examples[0]!r} hold several labels"
        tuned = Classify(self.config.model_copy(update={"separator": separator}))
        return tuned, (Choice("task.separator", separator, reason),)

    def read(self, fields: Row) -> Row:
        """Text as str and label as a list of distinct str in order; ValueError says why a row is unusable."""
        text = fields.get("text")
        if text is not None and not isinstance(text, str):
            raise ValueError("the text is not a string")
        if text is None or not text.strip():
            raise ValueError("empty text")
        return {"text": text, "label": self._read_labels(fields.get("label"))}

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by the text."""
        return str(fields["text"])

    def stratum(self, fields: Row) -> str:
        """Splits keep each label (or combination of labels) in proportion."""
        labels = fields["label"]
        assert isinstance(labels, list)
        return "\x1f".join(sorted(labels))

    def unit(self, fields: Row) -> str | None:
        """Each row stands alone."""
        return None

    # -- questions asked of a bound task

    def bind(self, dataset: Dataset) -> Classify:
        """This task with the data's labels; it is multi-label where any row has none or more than one.

        Raises InputError where the asked ``output`` does not fit the labels.
        """
        return self.with_labels(
            dataset.labels,
            multi_label=any(_any_not_single(dataset.table(split)) for split in dataset.splits),
            label_counts=dataset.label_counts.get("train", {}),
            num_rows=dataset.splits.get("train", 0),
        )

    def with_labels(
        self,
        labels: Sequence[str],
        *,
        multi_label: bool,
        label_counts: Mapping[str, int] = MappingProxyType({}),
        num_rows: int = 0,
    ) -> Classify:
        """This task bound to a label set, which takes in the label for what is out of scope.

        The counts (of the training rows) are only needed for balanced weights. Raises InputError where the asked ``output``
        or ``out_of_scope`` does not fit the labels.
        """
        if self.out_of_scope and self.out_of_scope not in labels:
            labels = sorted((*labels, self.out_of_scope))
        _check_output(self.config.output, len(labels), multi_label)
        if self.out_of_scope and (multi_label or self.config.output == "sigmoid"):
            raise _no_scope(self.out_of_scope, multi_label)
        bound = Classify(self.config)
        bound.labels = tuple(labels)
        bound.multi_label = multi_label
        bound.label_counts = dict(label_counts)
        bound.num_rows = num_rows
        return bound

    @property
    def sigmoid(self) -> bool:
        """Whether the outputs are independent probabilities."""
        return self.multi_label or self.config.output == "sigmoid"

    @property
    def num_outputs(self) -> int:
        """The width of the head: one per label, or a single one for two labels by sigmoid."""
        return 1 if self.sigmoid and not self.multi_label else len(self.labels)

    def texts(self, rows: pa.Table) -> list[str]:
        """The text column."""
        texts: list[str] = rows["text"].to_pylist()
        return texts

    needs: Literal["any", "decoder"] = "any"
    has_reference = False

    def open_encoder(self, base: Base) -> RowEncoder:
        """Texts by the base's tokenizer with its own special tokens, cut on the right."""
        from tunewright.adapt.texts import TextEncoder
        from tunewright.infer.load import load_tokenizer

        return TextEncoder(self, load_tokenizer(base.folder))

    def targets(self, rows: pa.Table) -> list[list[float]]:
        """``[index]`` for softmax, ``[0 or 1]`` for one sigmoid, a 0/1 vector over the labels for several."""
        chosen = self.gold(rows).chosen
        if self.multi_label:
            return [[float(value) for value in row] for row in chosen]
        return [[float(value)] for value in chosen]

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The trunk of ``base`` with a head, fresh or, where the base is a tuned model for the same labels, the one it has.

        The dense layer of a fresh head starts from the base's own pooler where it ships one. Raises InputError.
        """
        from tunewright.adapt.attach import attach_head
        from tunewright.adapt.save import take_up_head

        module = attach_head(base, self.config, self.num_outputs, seed)
        take_up_head(module, base, self)
        return module

    def save(self, draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
        """The stock classification model, where the head is the stock one."""
        from tunewright.adapt.save import save_model

        save_model(draft, module, self, base, card)

    def save_adapter(self, draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
        """The adapter for peft: over the stock class with its head, or else over the plain trunk."""
        from tunewright.adapt.save import save_classifier_adapter

        save_classifier_adapter(draft, adapter, module, self, base)

    def objective(self) -> Objective:
        """Cross-entropy over the labels, or binary cross-entropy on independent outputs."""
        balanced = self.config.class_weights == "balanced"
        shape = {"label_smoothing": self.config.label_smoothing, "focal_gamma": self.config.focal_gamma}
        if self.sigmoid:
            return Objective(
                "binary_cross_entropy",
                {**shape, "positive_weights": self._positive_weights() if balanced else None},
            )
        return Objective("cross_entropy", {**shape, "class_weights": self._class_weights() if balanced else None})

    def gold(self, rows: pa.Table) -> Classified:
        """The right labels."""
        position = {label: index for index, label in enumerate(self.labels)}
        column: list[list[str]] = rows["label"].to_pylist()
        if not self.multi_label:
            chosen = np.array([position[labels[0]] for labels in column], dtype=np.int64)
            return Label(self.labels, chosen, out_of_scope=self.out_of_scope)
        several = np.zeros((len(column), len(self.labels)), dtype=np.bool_)
        for row, labels in enumerate(column):
            several[row, [position[label] for label in labels]] = True
        return Labels(self.labels, several)

    def decode(self, logits: Floats) -> Classified:
        """Softmax or sigmoid of the logits[N, C], and the labels that they choose."""
        logits = logits.reshape(-1, self.num_outputs)
        if self.multi_label:
            probabilities = _sigmoid(logits)
            return Labels(self.labels, probabilities >= 0.5, probabilities)
        if self.sigmoid:
            probabilities = np.concatenate([_sigmoid(-logits), _sigmoid(logits)], axis=1)
        else:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        return Label(self.labels, probabilities.argmax(axis=1), probabilities, self.out_of_scope)

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        if self.multi_label:
            return (
                "micro_f1", "macro_f1", "weighted_f1", "subset_accuracy", "hamming_loss", "micro_precision", "micro_recall",
                "macro_precision", "macro_recall", "roc_auc", "pr_auc", "log_loss", "brier",
            )  # fmt: skip
        scope = ("in_scope_accuracy", "in_scope_refused", "out_of_scope_recall", "out_of_scope_auroc")
        return (
            "accuracy", *(scope if self.out_of_scope else ()), "macro_f1", "weighted_f1", "micro_f1", "macro_precision",
            "macro_recall", "mcc", "roc_auc", "pr_auc", "log_loss", "ece", "brier",
        )  # fmt: skip

    @property
    def baselines(self) -> Sequence[str]:
        """Trivial and classical references, and the untouched base."""
        return ("majority", "tfidf_lr", "nb_svm", "untouched_base")

    def search_space(self, plan: Plan) -> Space:
        """Rate, passes, batch and weight decay, and the dropout of the head."""
        return {**training_ranges(plan), "task.dropout": Range(low=0.0, high=0.5)}

    # -- inner

    def _read_labels(self, value: object) -> list[str]:
        separator = self.config.separator
        if isinstance(value, str) and separator in ("auto", "list"):
            value = _parsed_list(value)
        if isinstance(value, (list, tuple)):
            labels = [_label_text(item) for item in value]
        elif isinstance(value, str) and separator not in ("", "auto", "list"):
            labels = [part.strip() for part in value.split(separator)]
        else:
            labels = [_label_text(value)]
        labels = list(dict.fromkeys(label for label in labels if label))
        if not labels and not isinstance(value, (list, tuple)):
            raise ValueError("no label")
        return labels

    def _class_weights(self) -> list[float]:
        """Weight[C]: rows / (labels x rows of the label), so that every label weighs the same in sum."""
        total = sum(self.label_counts.values())
        return [total / (len(self.labels) * count) for count in self._counts()]

    def _positive_weights(self) -> list[float]:
        """Weight[outputs] of a positive: rows without the label / rows with it, so that yes and no weigh the same."""
        counts = self._counts()
        if not self.multi_label:
            return [counts[0] / counts[1]]
        return [max(1, self.num_rows - count) / count for count in counts]

    def _counts(self) -> list[int]:
        return [max(1, self.label_counts.get(label, 0)) for label in self.labels]


def _check_output(output: str, num_labels: int, multi_label: bool) -> None:
    if output == "softmax" and multi_label:
        raise InputError(
            "rows with several labels need independent outputs",
            where="task.output",
            given=output,
            allowed="sigmoid (one output per label)",
            hint="task.output=sigmoid, or task.separator='' if a cell is one label",
        )
    if output == "sigmoid" and not multi_label and num_labels != 2:
        raise InputError(
            "a single sigmoid output tells two labels apart, not more",
            where="task.output",
            given=f"sigmoid with {num_labels} labels, one a row",
            allowed="softmax; or sigmoid for two labels, or for rows with several labels",
            hint="task.output=softmax",
        )


def _no_scope(out_of_scope: str, multi_label: bool) -> InputError:
    return InputError(
        "a label for what is out of scope needs one label a row, and one output for each label",
        where="task.out_of_scope",
        given=f"{out_of_scope}, with {'rows of none or several labels' if multi_label else 'task.output=sigmoid'}",
        allowed="rows of one label each and task.output=softmax; where rows have several, one with none is out of scope as it is",
        hint="task.out_of_scope=''" if multi_label else "task.output=softmax",
    )


def _any_not_single(rows: pa.Table) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.not_equal(pc.list_value_length(rows["label"]), 1)).as_py())


def _label_text(value: object) -> str:
    """A plain value as a label: ``3.0`` is ``3`` and ``True`` is ``true``; None and NaN are no label."""
    if isinstance(value, (Mapping, list, tuple)):
        raise ValueError("the label is not a plain value")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _parsed_list(value: str) -> object:
    """The list that a cell spells out in JSON, or the cell as it is."""
    if not (value.lstrip().startswith("[") and value.rstrip().endswith("]")):
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed


def _sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), to full relative precision at both ends."""
    result: Floats = np.exp(-np.logaddexp(0.0, -logits))
    return result
