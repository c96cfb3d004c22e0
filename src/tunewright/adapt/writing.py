"""What the tasks share whose model writes text: rows are stored as dialogues, of which given turns are learnt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tunewright.adapt.dialogue import split_last
from tunewright.adapt.dialogue_encoder import DialogueEncoder, learnt_turns
from tunewright.adapt.ranges import training_ranges
from tunewright.config.base import ComponentConfig
from tunewright.seams import RowEncoder
from tunewright.types import (
    Adapter,
    Answer,
    Base,
    ColumnProfile,
    Field,
    Floats,
    Likelihood,
    Objective,
    Plan,
    Row,
    Space,
    Text,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from tunewright.store.artifact import Draft

Message = Mapping[str, Any]
ReadRequest = Callable[[Row], list[dict[str, Any]]]
"""A row's fields, cleaned, as the messages that are to be answered; ValueError says why it is unusable."""

EVERY_METRIC = ("nll_per_token", "perplexity", "chrf", "exact_match", "stop_rate", "repetition", "length_ratio")


class Writing:
    """A task on a decoder, by the model's own template; a subclass reads its rows and says which turns are learnt."""

    name: ClassVar[str]
    """The name of the task, as ``tunewright.json`` has it."""

    typed: ClassVar[str]
    """The field that a text is, if it is all that is said."""

    noun: ClassVar[str] = "dialogues"
    """What its rows are called."""

    has_shots: ClassVar[bool] = True
    """Whether the base can be shown rows before it is asked."""

    converses: ClassVar[bool] = True
    """Whether rows are read by the chat template of the model."""

    finishes: ClassVar[bool] = True
    """Whether what it writes has an end and a reference to be held against."""

    stored: Sequence[Field] = (Field("messages", "messages", "The turns in order, as JSON."),)
    needs: Literal["any", "decoder"] = "decoder"
    learns: Literal["all", "last"] = "all"
    label_smoothing: float = 0.0
    config: ComponentConfig

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by all that was said."""
        return "\n".join(message["content"] for message in parse(fields["messages"]))

    def stratum(self, fields: Row) -> str:
        """Splits need no proportions."""
        return ""

    def unit(self, fields: Row) -> str | None:
        """Rows that open with the same question stay together: else its answers would be known from training."""
        opening = next(message for message in parse(fields["messages"]) if message["role"] == "user")
        return " ".join(str(opening["content"]).casefold().split())

    def requests(
        self, profiles: Sequence[ColumnProfile], known: Mapping[str, str]
    ) -> tuple[Mapping[str, str], ReadRequest] | None:
        """The columns of rows that are to be answered, by field, and what reads them; ``known`` are those of training."""
        raise NotImplementedError

    def asked(self, text: str) -> list[dict[str, Any]]:
        """A text that somebody typed, as the messages that are to be answered."""
        raise NotImplementedError

    # -- questions asked of a bound task

    def dialogues(self, rows: pa.Table) -> list[list[Message]]:
        """The messages of each row."""
        return [parse(text) for text in rows["messages"].to_pylist()]

    def learnt(self, messages: Sequence[Message]) -> set[int]:
        """The numbers of the turns that are learnt."""
        return learnt_turns(messages, self.learns)

    def texts(self, rows: pa.Table) -> list[str]:
        """What a person reads of each row."""
        return ["\n".join(f"{each['role']}: {each['content']}" for each in row) for row in self.dialogues(rows)]

    def sources(self, rows: pa.Table) -> list[str]:
        """What each row's last answer is given to: the user's turn before it, for systems that copy from it."""
        return [str(split_last(messages)[0][-1]["content"]) for messages in self.dialogues(rows)]

    def template(self, folder: Path, tokenizer: Any) -> Any:
        """The form in which the model in ``folder`` reads a row."""
        from tunewright.infer.template import ChatTemplate

        return ChatTemplate.for_training(folder, tokenizer)

    def open_encoder(self, base: Base) -> RowEncoder:
        """Dialogues by the base's own template, with the turns that are learnt supervised."""
        from tunewright.adapt.language import require_writer
        from tunewright.infer.load import load_tokenizer

        require_writer(base)
        tokenizer = load_tokenizer(base.folder)
        return DialogueEncoder(self.dialogues, self.template(base.folder, tokenizer), tokenizer, self.learnt)

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The base with the head that it was pretrained with. Raises InputError for one that does not write text."""
        from tunewright.adapt.language import attach_language_head

        return attach_language_head(base)

    def save(self, draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
        """The stock model with its template, which transformers loads and talks with."""
        from tunewright.adapt.save_language import save_language_model

        described = {"task": self.name, "options": self.config.model_dump(mode="json")}
        save_language_model(draft, module, base, {**described, **card})

    def save_adapter(self, draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
        """The adapter for peft, over the stock model."""
        from tunewright.adapt.adapter import save_adapter

        model: Any = module
        save_adapter(draft, adapter, base, trunk_name=model.model.base_model_prefix, task_type="CAUSAL_LM")

    @property
    def has_reference(self) -> bool:
        """Targets hold nothing of the untouched module."""
        return False

    def objective(self) -> Objective:
        """Cross-entropy of the supervised tokens."""
        return Objective("token_cross_entropy", {"label_smoothing": self.label_smoothing})

    def gold(self, rows: pa.Table) -> Answer:
        """The last answer of each row."""
        return self.written(rows)

    def written(self, rows: pa.Table) -> Text:
        """The last answer of each row, as text."""
        texts = tuple(split_last(messages)[1] for messages in self.dialogues(rows))
        return Text(texts, np.zeros(len(texts), dtype=np.int64), np.ones(len(texts), dtype=np.bool_))

    def decode(self, outputs: Floats) -> Answer:
        """(Summed -log p, number of tokens)[N, 2] as likelihoods."""
        outputs = outputs.reshape(-1, 2)
        return Likelihood(outputs[:, 0], outputs[:, 1].astype(np.int64))

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return EVERY_METRIC

    @property
    def baselines(self) -> Sequence[str]:
        """What the tuned model is compared with."""
        return ("untouched_base", "few_shot", "ngram")

    def search_space(self, plan: Plan) -> Space:
        """Rate, passes, batch and weight decay."""
        return training_ranges(plan)


def parse(text: object) -> list[Message]:
    """The messages of a stored row."""
    messages: list[Message] = json.loads(str(text))
    return messages
