"""How each architecture's stock classification head works, so that a tuned model is saved in the ecosystem's own format.

A ``Layout`` says which token is pooled, whether a dense layer comes first, its activation and dropout, and under which names
transformers stores the head. A head with its architecture's stock settings is loaded by
``AutoModelForSequenceClassification`` and scores identically; with other settings only this package loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Pooling = Literal["first", "mean", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The stock classification head of one architecture.

    ``output`` and ``dense`` are names of stored layers; an empty ``dense`` means that there is none. ``dropout_options`` are
    the names under which the configuration holds the head's dropout; the first that is set counts, without any it is 0.
    """

    stock_class: str
    pooling: Pooling
    output: str
    dense: str = ""
    activation: str = "tanh"
    output_bias: bool = True
    dropout_before_dense: bool = False
    dropout_options: tuple[str, ...] = ("classifier_dropout", "hidden_dropout_prob")


def _roberta(stock_class: str) -> Layout:
    return Layout(
        stock_class=stock_class,
        pooling="first",
        output="classifier.out_proj",
        dense="classifier.dense",
        dropout_before_dense=True,
    )


def _decoder(stock_class: str) -> Layout:
    return Layout(stock_class=stock_class, pooling="last", output="score", output_bias=False, dropout_options=())


LAYOUTS: Mapping[str, Layout] = {
    "bert": Layout(
        stock_class="BertForSequenceClassification", pooling="first", output="classifier", dense="bert.pooler.dense"
    ),
    "roberta": _roberta("RobertaForSequenceClassification"),
    "xlm-roberta": _roberta("XLMRobertaForSequenceClassification"),
    "distilbert": Layout(
        stock_class="DistilBertForSequenceClassification",
        pooling="first",
        output="classifier",
        dense="pre_classifier",
        activation="relu",
        dropout_options=("seq_classif_dropout",),
    ),
    "gpt2": _decoder("GPT2ForSequenceClassification"),
    "llama": _decoder("LlamaForSequenceClassification"),
    "mistral": _decoder("MistralForSequenceClassification"),
    "qwen2": _decoder("Qwen2ForSequenceClassification"),
    "qwen3": _decoder("Qwen3ForSequenceClassification"),
    "gemma": _decoder("GemmaForSequenceClassification"),
    "gemma2": _decoder("Gemma2ForSequenceClassification"),
    "gemma3_text": _decoder("Gemma3TextForSequenceClassification"),
}


def layout_of(architecture: str, kind: str) -> Layout:
    """The stock layout, or for an architecture without one a plain linear head (mean pooling, last token for decoders)."""
    fallback = Layout(stock_class="", pooling="last" if kind == "decoder" else "mean", output="classification_head")
    return LAYOUTS.get(architecture, fallback)


def stock_dropout(layout: Layout, config: Any) -> float:
    """The dropout of the stock head under a transformers configuration."""
    values = (getattr(config, name, None) for name in layout.dropout_options)
    return next((float(value) for value in values if value is not None), 0.0)
