"""Attach the head of a tagger, save it as transformers' stock model for token classification, and load it again.

config.json          the base's, with the names of the tags and the stock class's name
model.safetensors    weights under transformers' names
tokenizer files      as the base had them
tunewright.json      task, options, labels, scheme, max_length: what `predict` needs besides
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from tunewright.adapt.adapter import save_adapter
from tunewright.adapt.save import WEIGHTS, kept_config, save_tokenizer
from tunewright.adapt.tagger import Tagger, TagHead
from tunewright.errors import InputError
from tunewright.infer.card import CARD, answers_with, read_card, require_card
from tunewright.infer.golden import GOLDEN, golden_ids
from tunewright.infer.load import load_tokenizer, load_trunk
from tunewright.infer.tags import Scheme, Tags
from tunewright.store.artifact import Draft
from tunewright.types import Adapter, Base

STOCK: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "bert": ("BertForTokenClassification", "classifier", ("classifier_dropout", "hidden_dropout_prob")),
    "roberta": ("RobertaForTokenClassification", "classifier", ("classifier_dropout", "hidden_dropout_prob")),
    "xlm-roberta": ("XLMRobertaForTokenClassification", "classifier", ("classifier_dropout", "hidden_dropout_prob")),
    "distilbert": ("DistilBertForTokenClassification", "classifier", ("dropout",)),
    "gpt2": ("GPT2ForTokenClassification", "classifier", ("classifier_dropout", "hidden_dropout")),
    **{
        name: (f"{family}ForTokenClassification", "score", ("classifier_dropout", "hidden_dropout"))
        for name, family in {
            "llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma": "Gemma", "gemma2": "Gemma2",
        }.items()
    },
}  # fmt: skip
"""Architecture -> its stock class, the name of its head, and where its configuration holds the head's dropout."""

USUAL_DROPOUT = 0.1
"""What the stock classes take where the configuration says nothing."""


class TagTask(Protocol):
    """A bound task of sequence labelling."""

    config: Any
    labels: tuple[str, ...]

    @property
    def tags(self) -> Tags:
        """The tags of its labels."""
        ...


@dataclass(frozen=True, slots=True)
class TunedTagger:
    """A tuned tagger ready to answer; ``max_length`` in tokens is what it reads at once."""

    module: Tagger
    tokenizer: Any
    tags: Tags
    max_length: int
    card: Mapping[str, Any]


def attach_tagger(base: Base, task: TagTask, seed: int) -> Tagger:
    """The trunk of ``base`` with a head; fresh weights depend on ``seed`` alone.

    The head of an earlier run is taken up where the base is a model for the same tags. Raises InputError.
    """
    if base.kind == "encoder-decoder":
        raise InputError(
            "a model of this kind cannot label words",
            where="model.name",
            given=f"{base.name} ({base.architecture}, an encoder with a decoder)",
            allowed="an encoder (such as minilm-l6) or a decoder (such as smollm2-135m-instruct)",
            hint="model=minilm-l6",
        )
    module = _build(base.folder, task.tags, base.architecture, task.config.dropout, seed)
    card = read_card(base.folder)
    if card is not None and answers_with(card) == "spans" and _tags_of(card) == task.tags:
        _load_head(module, base.folder, base.architecture)
    return module


def save_tagger(draft: Draft, module: torch.nn.Module, task: TagTask, base: Base, card: Mapping[str, object]) -> None:
    """Write the folder described above into ``draft``; ``card`` adds keys to tunewright.json."""
    from safetensors.torch import save_file

    assert isinstance(module, Tagger)
    names = _stored_names(module, base.architecture)
    weights = {names[name]: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    save_file(weights, str(draft.path(WEIGHTS)), metadata={"format": "pt"})
    tokenizer = load_tokenizer(base.folder)
    save_tokenizer(draft, base.folder, tokenizer)
    stock_class, _, dropout = STOCK.get(base.architecture, ("", "", ()))
    config = kept_config(base)
    config.update(
        id2label={str(number): name for number, name in enumerate(task.tags.names)},
        label2id={name: number for number, name in enumerate(task.tags.names)},
        dtype="float32",
    )
    if stock_class:
        config["architectures"] = [stock_class]
        if dropout[0] == "classifier_dropout":  # not where it is that of every layer, too
            config[dropout[0]] = module.head.dropout.p
    draft.write_json("config.json", config)
    draft.write_json(
        CARD,
        {
            "task": "tag",
            "answers": "spans",
            "options": task.config.model_dump(mode="json"),
            "labels": list(task.labels),
            "scheme": task.tags.scheme,
            "architecture": base.architecture,
            "kind": base.kind,
            "base": base.name,
            "licence": base.licence,
            "stock_class": stock_class or None,
            GOLDEN: golden_ids(tokenizer),
            **card,
        },
    )


def save_tagger_adapter(draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
    """Write the adapter of a tagger for peft: over the stock class with its head, or else over the plain trunk."""
    assert isinstance(module, Tagger)
    if base.architecture not in STOCK:
        save_adapter(draft, adapter, base, trunk_name="", task_type="FEATURE_EXTRACTION")
        return
    trunk: Any = module.trunk
    stored = _stored_names(module, base.architecture)
    head = {stored[name]: value for name, value in module.state_dict().items() if name.startswith("head.")}
    save_adapter(draft, adapter, base, trunk_name=trunk.base_model_prefix, task_type="TOKEN_CLS", head=head)


def load_tagger(folder: Path) -> TunedTagger:
    """The tuned tagger in ``folder`` (a run's ``model`` folder). Raises InputError if it holds none."""
    card = require_card(folder)
    assert answers_with(card) == "spans", folder
    tags = _tags_of(card)
    module = _build(folder, tags, card["architecture"], card["options"].get("dropout"), seed=0)
    _load_head(module, folder, card["architecture"])
    return TunedTagger(module.eval(), load_tokenizer(folder), tags, int(card["max_length"]), card)


def _build(folder: Path, tags: Tags, architecture: str, dropout: float | None, seed: int) -> Tagger:
    trunk = load_trunk(folder)
    config: Any = trunk.config
    if dropout is None:
        *_, options = STOCK.get(architecture, ("", "", ("classifier_dropout", "hidden_dropout_prob")))
        values = (getattr(config, name, None) for name in options)
        dropout = next((float(value) for value in values if value is not None), USUAL_DROPOUT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = TagHead(config.hidden_size, len(tags.names), dropout=dropout)
    return Tagger(trunk, head, tags)


def _tags_of(card: Mapping[str, Any]) -> Tags:
    scheme: Scheme = card["scheme"]
    return Tags(tuple(card["labels"]), scheme)


def _stored_names(module: Tagger, architecture: str) -> dict[str, str]:
    """Own name -> transformers' name of every weight."""
    trunk: Any = module.trunk
    _, output, _ = STOCK.get(architecture, ("", "tag_head", ()))
    prefixes = {"trunk.": f"{trunk.base_model_prefix}.", "head.output.": f"{output}."}
    return {
        name: stored + name.removeprefix(own)
        for name in module.state_dict()
        for own, stored in prefixes.items()
        if name.startswith(own)
    }


def _load_head(module: Tagger, folder: Path, architecture: str) -> None:
    from safetensors import safe_open

    names = _stored_names(module, architecture)
    with safe_open(folder / WEIGHTS, framework="pt") as stored:
        head = {name: stored.get_tensor(names[f"head.{name}"]) for name in module.head.state_dict()}
    module.head.load_state_dict(head)
