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
from typing import Any, Literal

from tunewright.adapt.dialogue import FORMS, read_dialogue, read_request, recognise_dialogues, recognise_requests
from tunewright.adapt.writing import ReadRequest, Writing
from tunewright.config.base import ComponentConfig, Option
from tunewright.types import Choice, ColumnProfile, Dataset, Field, Recognition, Row


class Chat(Writing):
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

    name = "chat"
    typed = "prompt"

    def __init__(self, config: Config | None = None, form: str = "messages") -> None:
        """``form`` is one of ``FORMS``: which columns a dialogue is read from."""
        self.config: Chat.Config = config or self.Config()
        self.learns, self.label_smoothing = self.config.learn, self.config.label_smoothing
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

    def requests(
        self, profiles: Sequence[ColumnProfile], known: Mapping[str, str]
    ) -> tuple[Mapping[str, str], ReadRequest] | None:
        """The columns of the form that fits, and what reads them up to the user's last turn."""
        found = recognise_requests(profiles, known)
        if found is None:
            return None
        form, names = found
        return names, lambda fields: read_request(form, fields, self.config.system)

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The text as the user's turn, after the system message that the model was tuned with."""
        return read_request("prompt", {"prompt": text}, self.config.system)

    def bind(self, dataset: Dataset) -> Chat:
        """There is no label set to learn."""
        return self
