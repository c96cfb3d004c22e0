"""Dialogue: the model learns the assistant's turns of conversations.

A record before and after ``read``; the last three forms are recognised by their columns:

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}   OpenAI
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}       ShareGPT
    {"instruction": "Greet me", "input": "", "output": "Hello."}                                    Alpaca
    {"prompt": "Hi", "completion": "Hello."}                                                        prompt and completion
        ->  {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]'}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tunewright.adapt.dialogue import FORMS, read_dialogue, recognise_dialogues, split_last
from tunewright.adapt.dialogue_encoder import DialogueEncoder, learnt_turns
from tunewright.adapt.ranges import training_ranges
from tunewright.config.base import ComponentConfig, Option
from tunewright.seams import RowEncoder
from tunewright.types import (
    Adapter,
    Answer,
    Base,
    Choice,
    ColumnProfile,
    Dataset,
    Field,
    Floats,
    Likelihood,
    Objective,
    Plan,
    Recognition,
    Row,
    Space,
    Text,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from tunewright.store.artifact import Draft

Message = Mapping[str, Any]


class Chat:
    """Dialogues on a decoder, by the model's own template: the assistant's turns are learnt, what ends them included."""

    class Config(ComponentConfig):
        """Options of dialogues."""

        only_training = frozenset({"label_smoothing"})

        system: str = Option("", "System message for dialogues that have none.", max_length=20_000)
        learn: Literal["all", "last"] = Option(
            "all", "Which of the assistant's turns are learnt; one with `weight: 0` never is."
        )
        label_smoothing: float = Option(
            0.0, "Share of each learnt token that is spread over the vocabulary.", ge=0.0, lt=1.0
        )

    stored: Sequence[Field] = (Field("messages", "messages", "The turns in order, as JSON."),)
    needs: Literal["any", "decoder"] = "decoder"

    def __init__(self, config: Config | None = None, form: str = "messages") -> None:
        """``form`` is one of ``FORMS``: which columns a dialogue is read from."""
        self.config = config or self.Config()
        self.form = form

    @property
    def fields(self) -> Sequence[Field]:
        """The fields of this form."""
        return FORMS[self.form]

    def recognise(self, profiles: Sequence[ColumnProfile]) -> Recognition | None:
        """Which columns hold the dialogue, in any of the forms."""
        return recognise_dialogues(profiles)

    def tuned_to(
        self, profiles: Sequence[ColumnProfile], columns: Mapping[str, str]
    ) -> tuple[Chat, tuple[Choice, ...]]:
        """This task reading the form to which the columns belong."""
        form = next((name for name, fields in FORMS.items() if fields[0].name in columns), self.form)
        return Chat(self.config, form), ()

    def read(self, fields: Row) -> Row:
        """The dialogue as JSON; ValueError says why it is unusable."""
        return {"messages": json.dumps(read_dialogue(self.form, fields, self.config.system), ensure_ascii=False)}

    def identity(self, fields: Row) -> str:
        """Duplicates are judged by all that was said."""
        return "\n".join(message["content"] for message in parse(fields["messages"]))

    def stratum(self, fields: Row) -> str:
        """Splits need no proportions."""
        return ""

    def unit(self, fields: Row) -> str | None:
        """Dialogues that open with the same question stay together: else its answers would be known from training."""
        opening = next(message for message in parse(fields["messages"]) if message["role"] == "user")
        return " ".join(str(opening["content"]).casefold().split())

    def bind(self, dataset: Dataset) -> Chat:
        """There is no label set to learn."""
        return self

    # -- questions asked of a bound task

    def dialogues(self, rows: pa.Table) -> list[list[Message]]:
        """The messages of each row."""
        return [parse(text) for text in rows["messages"].to_pylist()]

    def learnt(self, messages: Sequence[Message]) -> set[int]:
        """The numbers of the turns that are learnt."""
        return learnt_turns(messages, self.config.learn)

    def texts(self, rows: pa.Table) -> list[str]:
        """What a person reads of each row."""
        return ["\n".join(f"{each['role']}: {each['content']}" for each in row) for row in self.dialogues(rows)]

    def open_encoder(self, base: Base) -> RowEncoder:
        """Dialogues by the base's own template, with the assistant's turns supervised."""
        from tunewright.adapt.language import require_writer
        from tunewright.infer.load import load_tokenizer
        from tunewright.infer.template import ChatTemplate

        require_writer(base)
        tokenizer = load_tokenizer(base.folder)
        template = ChatTemplate.for_training(base.folder, tokenizer)
        return DialogueEncoder(self.dialogues, template, tokenizer, self.learnt)

    def attach(self, base: Base, seed: int) -> torch.nn.Module:
        """The base with the head that it was pretrained with. Raises InputError for one that does not write text."""
        from tunewright.adapt.language import attach_language_head

        return attach_language_head(base)

    def save(self, draft: Draft, module: torch.nn.Module, base: Base, card: Mapping[str, object]) -> None:
        """The stock model with its template, which transformers loads and talks with."""
        from tunewright.adapt.save_language import save_language_model

        save_language_model(
            draft, module, base, {"task": "chat", "options": self.config.model_dump(mode="json"), **card}
        )

    def save_adapter(self, draft: Draft, adapter: Adapter, module: torch.nn.Module, base: Base) -> None:
        """The adapter for peft, over the stock model."""
        from tunewright.adapt.adapter import save_adapter

        model: Any = module
        save_adapter(draft, adapter, base, trunk_name=model.model.base_model_prefix, task_type="CAUSAL_LM")

    def objective(self) -> Objective:
        """Cross-entropy of the supervised tokens."""
        return Objective("token_cross_entropy", {"label_smoothing": self.config.label_smoothing})

    def gold(self, rows: pa.Table) -> Answer:
        """The assistant's last turn of each dialogue."""
        texts = tuple(split_last(messages)[1] for messages in self.dialogues(rows))
        return Text(texts, np.zeros(len(texts), dtype=np.int64), np.ones(len(texts), dtype=np.bool_))

    def decode(self, outputs: Floats) -> Answer:
        """(Summed -log p, number of tokens)[N, 2] as likelihoods."""
        outputs = outputs.reshape(-1, 2)
        return Likelihood(outputs[:, 0], outputs[:, 1].astype(np.int64))

    @property
    def metrics(self) -> Sequence[str]:
        """What is reported, the primary one first."""
        return ("nll_per_token", "perplexity", "chrf", "exact_match", "stop_rate", "repetition", "length_ratio")

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
