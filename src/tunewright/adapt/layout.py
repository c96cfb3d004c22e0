"""Where each architecture keeps its classification head, so that a tuned model is saved in the ecosystem's own format.

A ``Layout`` says how the stock head works (which token is pooled, whether a dense layer comes first, its activation) and
under which names transformers stores trunk and head. A head built with its architecture's stock settings is loaded by
``AutoModelForSequenceClassification`` and scores identically; with other settings only this package loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Pooling = Literal["first", "mean", "last"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The stock classification head of one architecture. Empty names mean that the part does not exist."""

    trunk: str
    pooling: Pooling
    output: str
    dense: str = ""
    activation: str = "tanh"
    output_bias: bool = True
    dropout_before_dense: bool = False
    stock_class: str = ""


def _decoder(stock_class: str, trunk: str = "model") -> Layout:
    return Layout(trunk, "last", "score", output_bias=False, stock_class=stock_class)


LAYOUTS: Mapping[str, Layout] = {
    "bert": Layout("bert", "first", "classifier", "bert.pooler.dense", stock_class="BertForSequenceClassification"),
    "roberta": Layout(
        "roberta",
        "first",
        "classifier.out_proj",
        "classifier.dense",
        dropout_before_dense=True,
        stock_class="RobertaForSequenceClassification",
    ),
    "xlm-roberta": Layout(
        "roberta",
        "first",
        "classifier.out_proj",
        "classifier.dense",
        dropout_before_dense=True,
        stock_class="XLMRobertaForSequenceClassification",
    ),
    "distilbert": Layout(
        "distilbert",
        "first",
        "classifier",
        "pre_classifier",
        activation="relu",
        stock_class="DistilBertForSequenceClassification",
    ),
    "gpt2": _decoder("GPT2ForSequenceClassification", trunk="transformer"),
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
    fallback = Layout("trunk", "last" if kind == "decoder" else "mean", "head.output")
    return LAYOUTS.get(architecture, fallback)
